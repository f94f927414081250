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

{% if span_pairs is defined and span_pairs %}
// Two spans of 64 columns, which share their scales and minima.
struct Pair{{ suffix }} {
    header: vec4<u32>,
    first_fifth_bits: vec4<u32>,
    second_fifth_bits: vec4<u32>,
    first: vec4<u32>,
    second: vec4<u32>,
}

fn fetch_pair{{ suffix }}(row: u32, spans: u32, pair: u32) -> Pair{{ suffix }} {
    let block = row + (pair >> 2u) * 11u;
    let nibbles = block + 3u + 2u * (pair & 3u);
    return Pair{{ suffix }}(weights[block], weights[block + 1u], weights[block + 2u], weights[nibbles], weights[nibbles + 1u]);
}

// Which sixteen columns the product wants: first those of the low nibbles.
fn pair_sixteens{{ suffix }}(pair: u32) -> vec4<u32> {
    return 4u * pair + vec4<u32>(0u, 1u, 2u, 3u);
}

fn with_fifth_bits{{ suffix }}(nibbles: vec4<u32>, fifth_bits: vec4<u32>) -> vec4<u32> {
    return (nibbles & vec4<u32>(0x0f0f0f0fu)) | ((fifth_bits & vec4<u32>(0x01010101u)) << vec4<u32>(4u));
}

fn pair_product{{ suffix }}(weights: Pair{{ suffix }}, pair: u32, x0: Rounded, x1: Rounded, x2: Rounded, x3: Rounded) -> f32 {
    let even = 2u * (pair & 3u);
    let first_bits = weights.first_fifth_bits >> vec4<u32>(even);
    let second_bits = weights.second_fifth_bits >> vec4<u32>(even);
    let low = x0.step_and_sum.x * f32(dot_sixteen(with_fifth_bits{{ suffix }}(weights.first, first_bits), x0.integers))
        + x1.step_and_sum.x * f32(dot_sixteen(with_fifth_bits{{ suffix }}(weights.second, second_bits), x1.integers));
    let first_high = with_fifth_bits{{ suffix }}(weights.first >> vec4<u32>(4u), first_bits >> vec4<u32>(1u));
    let second_high = with_fifth_bits{{ suffix }}(weights.second >> vec4<u32>(4u), second_bits >> vec4<u32>(1u));
    let high = x2.step_and_sum.x * f32(dot_sixteen(first_high, x2.integers))
        + x3.step_and_sum.x * f32(dot_sixteen(second_high, x3.integers));
    let sums = vec2<f32>(x0.step_and_sum.y + x1.step_and_sum.y, x2.step_and_sum.y + x3.step_and_sum.y);
    return scaled_pair(weights.header, even, vec2<f32>(low, high), sums);
}
{% endif %}
