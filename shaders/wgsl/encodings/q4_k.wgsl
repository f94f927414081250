// Q4_K as it stands in the file: blocks of 256 weights in 9 vec4s, a header and 128 bytes of nibbles. Byte 32 p + l
// holds column 64 p + l in its low and column 64 p + 32 + l in its high nibble; a span is 16 such bytes.
const HALF_STRIDE{{ suffix }} = 32u;

struct Packed{{ suffix }} {
    header: vec4<u32>,
    nibbles: vec4<u32>,
}

fn first_column{{ suffix }}(span: u32) -> u32 {
    return (span >> 1u) * 64u + (span & 1u) * 16u;
}

fn fetch{{ suffix }}(row: u32, spans: u32, span: u32) -> Packed{{ suffix }} {
    let block = row + (span >> 3u) * 9u;
    return Packed{{ suffix }}(weights[block], weights[block + 1u + (span & 7u)]);
}

fn quants{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> vec4<u32> {
    return (packed.nibbles >> vec4<u32>(4u * half)) & vec4<u32>(0x0f0f0f0fu);
}

fn factors{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> vec2<f32> {
    return scale_and_minimum(packed.header, (span & 6u) + half) * vec2<f32>(1.0, -1.0);
}

fn decode{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> Sixteen {
    let factors = factors{{ suffix }}(packed, span, half);
    let sixteen = 16.0 * factors.x;
    let quants = mat4x4<f32>(
        one_and_sixteenths(packed.nibbles.x, half),
        one_and_sixteenths(packed.nibbles.y, half),
        one_and_sixteenths(packed.nibbles.z, half),
        one_and_sixteenths(packed.nibbles.w, half),
    );
    {% if ones_in_offset is defined %}
    // The offset takes the ones away, from the sum of sixteen inputs instead of from every quant.
    return Sixteen(sixteen, factors.y - sixteen, quants);
    {% else %}
    let one = vec4<f32>(1.0);
    return Sixteen(sixteen, factors.y, quants - mat4x4<f32>(one, one, one, one));
    {% endif %}
}

{% if span_pairs is defined and span_pairs %}
// Two spans of 64 columns, which share their scales and minima.
struct Pair{{ suffix }} {
    header: vec4<u32>,
    first: vec4<u32>,
    second: vec4<u32>,
}

fn fetch_pair{{ suffix }}(row: u32, spans: u32, pair: u32) -> Pair{{ suffix }} {
    let block = row + (pair >> 2u) * 9u;
    let nibbles = block + 1u + 2u * (pair & 3u);
    return Pair{{ suffix }}(weights[block], weights[nibbles], weights[nibbles + 1u]);
}

// Which sixteen columns the product wants: first those of the low nibbles.
fn pair_sixteens{{ suffix }}(pair: u32) -> vec4<u32> {
    return 4u * pair + vec4<u32>(0u, 1u, 2u, 3u);
}

fn pair_product{{ suffix }}(weights: Pair{{ suffix }}, pair: u32, x0: Rounded, x1: Rounded, x2: Rounded, x3: Rounded) -> f32 {
    let nibble = vec4<u32>(0x0f0f0f0fu);
    let low = x0.step_and_sum.x * f32(dot_sixteen(weights.first & nibble, x0.integers))
        + x1.step_and_sum.x * f32(dot_sixteen(weights.second & nibble, x1.integers));
    let high = x2.step_and_sum.x * f32(dot_sixteen((weights.first >> vec4<u32>(4u)) & nibble, x2.integers))
        + x3.step_and_sum.x * f32(dot_sixteen((weights.second >> vec4<u32>(4u)) & nibble, x3.integers));
    let sums = vec2<f32>(x0.step_and_sum.y + x1.step_and_sum.y, x2.step_and_sum.y + x3.step_and_sum.y);
    return scaled_pair(weights.header, 2u * (pair & 3u), vec2<f32>(low, high), sums);
}
{% endif %}
