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

{% if span_pairs is defined and span_pairs %}
// Two spans of 64 columns, which share their high bits.
struct Pair{{ suffix }} {
    first: vec4<u32>,
    second: vec4<u32>,
    high_bits: vec4<u32>,
    scales: vec4<u32>,
    d: f32,
}

fn fetch_pair{{ suffix }}(row: u32, spans: u32, pair: u32) -> Pair{{ suffix }} {
    let blocks = spans >> 3u;
    let block = pair >> 2u;
    let low_bits = row + 8u * block + 2u * (pair & 2u) + (pair & 1u);
    let d = half_at(weights[row + 13u * blocks + (block >> 3u)], block & 7u);
    return Pair{{ suffix }}(weights[low_bits], weights[low_bits + 2u], weights[row + 8u * blocks + pair], weights[row + 12u * blocks + block], d);
}

// Which sixteen columns the product wants: one for each bit pair.
fn pair_sixteens{{ suffix }}(pair: u32) -> vec4<u32> {
    return 8u * (pair >> 1u) + (pair & 1u) + vec4<u32>(0u, 2u, 4u, 6u);
}

// Numbers below 64 less 32, as signed bytes.
fn centred{{ suffix }}(low_bits: vec4<u32>, high_bits: vec4<u32>) -> vec4<u32> {
    let quants = (low_bits & vec4<u32>(0x0f0f0f0fu)) | (high_bits & vec4<u32>(0x30303030u));
    return (quants + vec4<u32>(0x60606060u)) ^ vec4<u32>(0x80808080u);
}

fn pair_product{{ suffix }}(weights: Pair{{ suffix }}, pair: u32, x0: Rounded, x1: Rounded, x2: Rounded, x3: Rounded) -> f32 {
    let high = weights.high_bits;
    let dots = vec4<f32>(
        f32(dot_sixteen(centred{{ suffix }}(weights.first, high << vec4<u32>(4u)), x0.integers)),
        f32(dot_sixteen(centred{{ suffix }}(weights.second, high << vec4<u32>(2u)), x1.integers)),
        f32(dot_sixteen(centred{{ suffix }}(weights.first >> vec4<u32>(4u), high), x2.integers)),
        f32(dot_sixteen(centred{{ suffix }}(weights.second >> vec4<u32>(4u), high >> vec4<u32>(2u)), x3.integers)),
    );
    // Every other of eight scales, from an even or odd one on.
    let of_half = select(weights.scales.xy, weights.scales.zw, (pair & 2u) == 2u) >> vec2<u32>(8u * (pair & 1u));
    let scales = vec4<f32>(vec4<i32>(
        extractBits(bitcast<i32>(of_half.x), 0u, 8u),
        extractBits(bitcast<i32>(of_half.x), 16u, 8u),
        extractBits(bitcast<i32>(of_half.y), 0u, 8u),
        extractBits(bitcast<i32>(of_half.y), 16u, 8u),
    ));
    let steps = vec4<f32>(x0.step_and_sum.x, x1.step_and_sum.x, x2.step_and_sum.x, x3.step_and_sum.x);
    return weights.d * dot(scales * steps, dots);
}
{% endif %}
