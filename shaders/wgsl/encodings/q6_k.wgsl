// Q6_K in planes: the file's blocks of 210 bytes are not aligned to words, so a row of B blocks (256 weights each) is
// 8 B vec4s of low bits, 4 B vec4s of high bits, B vec4s of signed scales, and the halves d, padded to a vec4.
// Within a block all lies as in the file: byte 64 n + 32 j + l (l below 32) of the low bits holds column
// 128 n + 32 j + l in its low nibble and the column 64 further in its high nibble; their high bits are the bit pairs
// j and j + 2 of byte 32 n + l of the high bits. A span is 16 bytes of low bits.
const HALF_STRIDE{{ suffix }} = 64u;

struct Packed{{ suffix }} {
    low_bits: vec4<u32>,
    high_bits: vec4<u32>,
    scales: vec4<u32>,
    d: f32,
}

fn first_column{{ suffix }}(span: u32) -> u32 {
    return (span >> 2u) * 128u + (span & 3u) * 16u;
}

fn fetch{{ suffix }}(row: u32, spans: u32, span: u32) -> Packed{{ suffix }} {
    let blocks = spans >> 3u;
    let block = span >> 3u;
    let high_bits = row + 8u * blocks + 4u * block + ((span >> 1u) & 2u) + (span & 1u);
    let scales = row + 12u * blocks + block;
    let d = half_at(weights[row + 13u * blocks + (block >> 3u)], block & 7u);
    return Packed{{ suffix }}(weights[row + span], weights[high_bits], weights[scales], d);
}

fn quants{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> vec4<u32> {
    let pair = ((span >> 1u) & 1u) + 2u * half;
    let low_bits = (packed.low_bits >> vec4<u32>(4u * half)) & vec4<u32>(0x0f0f0f0fu);
    let high_bits = (packed.high_bits >> vec4<u32>(2u * pair)) & vec4<u32>(0x03030303u);
    return low_bits | (high_bits << vec4<u32>(4u));
}

fn factors{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> vec2<f32> {
    // Scales are for 16 columns each: 8 n + 2 j + (l / 16), and 4 further for the second half.
    let scale_index = ((span & 4u) << 1u) + (span & 3u) + 4u * half;
    let scale_word = bitcast<i32>(packed.scales[scale_index >> 2u]);
    let scale = packed.d * f32(extractBits(scale_word, 8u * (scale_index & 3u), 8u));
    return vec2<f32>(scale, -32.0 * scale);
}

fn decode{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> Sixteen {
    let quants = quants{{ suffix }}(packed, span, half);
    let shifted = mat4x4<f32>(
        one_and_sixty_fourths(quants.x),
        one_and_sixty_fourths(quants.y),
        one_and_sixty_fourths(quants.z),
        one_and_sixty_fourths(quants.w),
    );
    // Centred here rather than by the offset: a scale times a signed six-bit number is exact.
    let centre = vec4<f32>(1.5);
    let centred = shifted - mat4x4<f32>(centre, centre, centre, centre);
    return Sixteen(64.0 * factors{{ suffix }}(packed, span, half).x, 0.0, centred);
}
