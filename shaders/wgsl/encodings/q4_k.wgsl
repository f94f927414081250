{% include "encodings/k_scales.wgsl" %}
// Q4_K as it stands in the file: blocks of 256 weights in 9 vec4s, a header and 128 bytes of nibbles. Byte 32 p + l
// holds column 64 p + l in its low and column 64 p + 32 + l in its high nibble; a span is 16 such bytes.
const HALF_STRIDE = 32u;

struct Packed {
    header: vec4<u32>,
    nibbles: vec4<u32>,
}

fn first_column(span: u32) -> u32 {
    return (span >> 1u) * 64u + (span & 1u) * 16u;
}

fn fetch(row: u32, spans: u32, span: u32) -> Packed {
    let block = row + (span >> 3u) * 9u;
    return Packed(weights[block], weights[block + 1u + (span & 7u)]);
}

fn decode(packed: Packed, span: u32, half: u32) -> Sixteen {
    let factors = scale_and_minimum(packed.header, (span & 6u) + half);
    let nibbles = (packed.nibbles >> vec4<u32>(4u * half)) & vec4<u32>(0x0f0f0f0fu);
    return Sixteen(factors.x, -factors.y, unsigned_bytes(nibbles));
}
