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

override WORKGROUP = 256u;

{% include "moments.wgsl" %}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = workgroup.x;
    if (row >= rows.count) {
        return;
    }
    let first = {{ "picks[rows.first + row]" if picked else "(rows.first + row)" }} * params.width;
    let of_row = moments(local, vec2<u32>(first, first));
    for (var i = local; i < params.width; i += WORKGROUP) {
        out[row * params.width + i] = vec4<{{ output }}>(normalised(x[first + i], of_row.mean.x, of_row.scale.x, i));
    }
}
