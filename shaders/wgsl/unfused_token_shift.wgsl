{% if output == "f16" %}
enable f16;
{% endif %}
// Token shift: each row mixed with its predecessor, the first with one of its own. Twin: twins::token_shift.
{% include "rows.wgsl" %}
struct Params {
    width: u32, // vec4s of a row
    mix: u32,   // first vec4 in vectors
}

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // [rows, width]
@group(0) @binding(4) var<storage, read> previous: array<vec4<f32>>; // [width]: the row before the first
@group(0) @binding(5) var<storage, read_write> out: array<vec4<{{ output }}>>; // [rows, width]

override WORKGROUP = 256u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = workgroup.y;
    let i = workgroup.x * WORKGROUP + local;
    if (row >= rows.count || i >= params.width) {
        return;
    }
    let now = x[row * params.width + i];
    var before: vec4<f32>;
    if (row == 0u) {
        before = previous[i];
    } else {
        before = x[(row - 1u) * params.width + i];
    }
    out[row * params.width + i] = vec4<{{ output }}>(now + (before - now) * vectors[params.mix + i]);
}
