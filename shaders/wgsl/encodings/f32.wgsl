// Single-precision rows, padded with zeros to a multiple of 32 columns: 8 vec4s a span.
const HALF_STRIDE{{ suffix }} = 16u;

struct Packed{{ suffix }} {
    first: mat4x4<f32>,
    second: mat4x4<f32>,
}

fn first_column{{ suffix }}(span: u32) -> u32 {
    return span * 32u;
}

fn sixteen_floats(first: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        bitcast<vec4<f32>>(weights[first]),
        bitcast<vec4<f32>>(weights[first + 1u]),
        bitcast<vec4<f32>>(weights[first + 2u]),
        bitcast<vec4<f32>>(weights[first + 3u]),
    );
}

fn fetch{{ suffix }}(row: u32, spans: u32, span: u32) -> Packed{{ suffix }} {
    return Packed{{ suffix }}(sixteen_floats(row + 8u * span), sixteen_floats(row + 8u * span + 4u));
}

fn decode{{ suffix }}(packed: Packed{{ suffix }}, span: u32, half: u32) -> Sixteen {
    if (half == 0u) {
        return Sixteen(1.0, 0.0, packed.first);
    }
    return Sixteen(1.0, 0.0, packed.second);
}
