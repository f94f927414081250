{% include "workgroup_sums.wgsl" %}

struct Moments {
    mean: vec2<f32>,
    scale: vec2<f32>, // the reciprocal of the standard deviation
}

// Those of the rows that begin at vec4s `rows`: of two at once, as this waits for memory and for others most of the time.
fn moments(local: u32, rows: vec2<u32>) -> Moments {
    let width = f32(4u * params.width);
    var sums = array<vec4<f32>, 2>();
    for (var i = local; i < params.width; i += WORKGROUP) {
        sums[0] += x[rows.x + i];
        sums[1] += x[rows.y + i];
    }
    let mean = workgroup_sums(local, vec2<f32>(total(sums[0]), total(sums[1]))) / width;
    var squares = array<vec4<f32>, 2>();
    for (var i = local; i < params.width; i += WORKGROUP) {
        let centred = array(x[rows.x + i] - mean.x, x[rows.y + i] - mean.y);
        squares[0] += centred[0] * centred[0];
        squares[1] += centred[1] * centred[1];
    }
    let variance = workgroup_sums(local, vec2<f32>(total(squares[0]), total(squares[1]))) / width;
    return Moments(mean, 1.0 / sqrt(variance + params.epsilon));
}

fn normalised(value: vec4<f32>, mean: f32, scale: f32, i: u32) -> vec4<f32> {
    return (value - mean) * scale * vectors[params.weight + i] + vectors[params.bias + i];
}
