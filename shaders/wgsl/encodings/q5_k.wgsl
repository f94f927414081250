// Q5_K as it stands in the file: blocks of 256 weights in 11 vec4s, a header, 32 bytes of fifth bits, 128 bytes of
// nibbles. Nibbles lie as in Q4_K; the fifth bit of the weight in byte 32 p + l is bit 2 p (low nibble) or 2 p + 1
// (high nibble) of byte l of the fifth bits.
const HALF_STRIDE{{ suffix }} = 32u;

struct Packed{{ suffix }} {
    header: vec4<u32>,
    fifth_bits: vec4<u32>,
    nibbles: vec4<u32>,
}

fn first_column{{ suffix }}(span: u32) -> u32 {
    return (span >> 1u) * 64u + (span & 1u) * 16u;
}

fn fetch{{ suffix }}(row: u32, spans: u32, span: u32) -> Packed{{ suffix }} {
    let block = row + (span >> 3u) * 11u;
    return Packed{{ suffix }}(weights[block], weights[block + 1u + (span & 1u)], weights[block + 3u + (span & 7u)]);
}

fn quants{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> vec4<u32> {
    let nibbles = (packed.nibbles >> vec4<u32>(4u * half)) & vec4<u32>(0x0f0f0f0fu);
    let fifth_bits = (packed.fifth_bits >> vec4<u32>((span & 6u) + half)) & vec4<u32>(0x01010101u);
    return nibbles | (fifth_bits << vec4<u32>(4u));
}

fn factors{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> vec2<f32> {
    return scale_and_minimum(packed.header, (span & 6u) + half) * vec2<f32>(1.0, -1.0);
}

fn decode{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> Sixteen {
    let factors = factors{{ suffix }}(packed, span, half);
    return Sixteen(factors.x, factors.y, unsigned_bytes(quants{{ suffix }}(packed, span, half)));
}
