// Half-precision rows, padded with zeros to a multiple of 32 columns: 4 vec4s a span.
const HALF_STRIDE{{ suffix }} = 16u;

struct Packed{{ suffix }} {
    words: array<vec4<u32>, 4>,
}

fn first_column{{ suffix }}(span: u32) -> u32 {
    return span * 32u;
}

fn fetch{{ suffix }}(row: u32, spans: u32, span: u32) -> Packed{{ suffix }} {
    let first = row + 4u * span;
    return Packed{{ suffix }}(array(weights[first], weights[first + 1u], weights[first + 2u], weights[first + 3u]));
}

fn four_halves(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(halves_to_floats(words.x), halves_to_floats(words.y));
}

fn decode{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> Sixteen {
    let low = select(packed.words[0], packed.words[2], half == 1u);
    let high = select(packed.words[1], packed.words[3], half == 1u);
    let quants = mat4x4<f32>(
        four_halves(low.xy),
        four_halves(low.zw),
        four_halves(high.xy),
        four_halves(high.zw),
    );
    return Sixteen(1.0, 0.0, quants);
}
