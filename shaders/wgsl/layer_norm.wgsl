// Layer norm of rows: zero mean, unit population variance, then weight and bias. Twin: twins::layer_norm.
{% if shift %}
// The rows are written one row down, below the row that the last run ended with (`shift`), so that token shift finds
// each row's predecessor one row up. The last row becomes the new `shift`: the first workgroup does both, as no other
// may touch `shift` in the same dispatch.
{% endif %}
{% include "rows.wgsl" %}
struct Params {
    width: u32,  // vec4s of a row
    weight: u32, // first vec4 in vectors
    bias: u32,
    epsilon: f32,
}

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // [rows, width], read from rows.first on
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>; // [rows{% if shift %} + 1{% endif %}, width]
{% if shift %}
@group(0) @binding(5) var<storage, read_write> shift: array<vec4<f32>>; // [width]
{% endif %}

override WORKGROUP = 256u;

var<workgroup> partial: array<f32, WORKGROUP>;

// The sum of `value` over the workgroup.
fn workgroup_sum(local: u32, value: f32) -> f32 {
    workgroupBarrier(); // the last sum has been read
    partial[local] = value;
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if (local < width) {
            partial[local] += partial[local + width];
        }
    }
    workgroupBarrier();
    return partial[0];
}

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

// Mean and the reciprocal of the standard deviation of the row that begins at vec4 `first`.
fn moments(local: u32, first: u32) -> vec2<f32> {
    var sum = vec4<f32>();
    for (var i = local; i < params.width; i += WORKGROUP) {
        sum += x[first + i];
    }
    let mean = workgroup_sum(local, total(sum)) / f32(4u * params.width);
    var squares = vec4<f32>();
    for (var i = local; i < params.width; i += WORKGROUP) {
        let centred = x[first + i] - mean;
        squares += centred * centred;
    }
    let variance = workgroup_sum(local, total(squares)) / f32(4u * params.width);
    return vec2<f32>(mean, 1.0 / sqrt(variance + params.epsilon));
}

fn normalised(moments: vec2<f32>, first: u32, i: u32) -> vec4<f32> {
    return (x[first + i] - moments.x) * moments.y * vectors[params.weight + i] + vectors[params.bias + i];
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = workgroup.x;
    if (row >= rows.count) {
        return;
    }
    let first = (rows.first + row) * params.width;
    let row_moments = moments(local, first);
    for (var i = local; i < params.width; i += WORKGROUP) {
        out[(row{% if shift %} + 1u{% endif %}) * params.width + i] = normalised(row_moments, first, i);
    }
    {% if shift %}
    if (row == 0u) {
        let last = (rows.first + rows.count - 1u) * params.width;
        let last_moments = moments(local, last);
        for (var i = local; i < params.width; i += WORKGROUP) {
            out[i] = shift[i];
            shift[i] = normalised(last_moments, last, i);
        }
    }
    {% endif %}
}
