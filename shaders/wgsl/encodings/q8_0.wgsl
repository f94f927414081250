// Q8_0 in planes: the file's blocks of 34 bytes are not aligned to words, so a row of B blocks (32 weights each) is
// 2 B vec4s of signed bytes, then the halves d, padded to a vec4. A span is a block.
const HALF_STRIDE{{ suffix }} = 16u;

struct Packed{{ suffix }} {
    first: vec4<u32>,
    second: vec4<u32>,
    d: f32,
}

fn first_column{{ suffix }}(span: u32) -> u32 {
    return span * 32u;
}

fn fetch{{ suffix }}(row: u32, spans: u32, span: u32) -> Packed{{ suffix }} {
    let d = half_at(weights[row + 2u * spans + (span >> 3u)], span & 7u);
    return Packed{{ suffix }}(weights[row + 2u * span], weights[row + 2u * span + 1u], d);
}

fn quants{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> vec4<u32> {
    return select(packed.first, packed.second, half == 1u);
}

fn factors{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> vec2<f32> {
    return vec2<f32>(packed.d, 0.0);
}

fn decode{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> Sixteen {
    let words = quants{{ suffix }}(packed, span, half);
    let quants = mat4x4<f32>(
        vec4<f32>(unpack4xI8(words.x)),
        vec4<f32>(unpack4xI8(words.y)),
        vec4<f32>(unpack4xI8(words.z)),
        vec4<f32>(unpack4xI8(words.w)),
    );
    return Sixteen(packed.d, 0.0, quants);
}
