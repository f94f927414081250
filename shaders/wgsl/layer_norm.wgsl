{% if output == "f16" %}
enable f16;
{% endif %}
// Layer norm of {{ "picked rows" if picked else "the rows from rows.first on" }}: zero mean, unit population variance, then weight and bias. Twin: twins::layer_norm.
{% include "rows.wgsl" %}
struct Params {
    width: u32,  // vec4s of a row
    weight: u32, // first vec4 in vectors
    bias: u32,
    epsilon: f32,
}

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // [rows, width]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<{{ output }}>>; // [rows, width]
{% if picked %}
@group(0) @binding(5) var<storage, read> picks: array<u32>; // the rows of x, taken from rows.first on
{% endif %}

const WORKGROUP = {{ workgroup }}u;

{% set summed = "f32" %}
{% include "workgroup_sums.wgsl" %}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, lane: Lane) {
    let row = workgroup.x;
    if (row >= rows.count) {
        return;
    }
    let first = {{ "picks[rows.first + row]" if picked else "(rows.first + row)" }} * params.width;
    let width = f32(4u * params.width);
    var sum = vec4<f32>();
    for (var i = lane.local; i < params.width; i += WORKGROUP) {
        sum += x[first + i];
    }
    let mean = workgroup_sum(lane, 0u, total(sum)) / width;
    var squares = vec4<f32>();
    for (var i = lane.local; i < params.width; i += WORKGROUP) {
        let centred = x[first + i] - mean;
        squares += centred * centred;
    }
    let variance = workgroup_sum(lane, 1u, total(squares)) / width;
    let scale = 1.0 / sqrt(variance + params.epsilon);
    for (var i = lane.local; i < params.width; i += WORKGROUP) {
        let normalised = (x[first + i] - mean) * scale * vectors[params.weight + i] + vectors[params.bias + i];
        out[row * params.width + i] = vec4<{{ output }}>(normalised);
    }
}
