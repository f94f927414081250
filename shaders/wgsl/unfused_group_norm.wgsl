{% if output == "f16" %}
enable f16;
{% endif %}
// Group norm of each head. Twin: twins::group_norm.
{% include "rows.wgsl" %}
{% include "time_mix.wgsl" %}
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> y: array<vec4<f32>>; // [tokens, width]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<{{ output }}>>; // [tokens, width]

{% include "head_sum.wgsl" %}
const EPSILON = 64e-5;
const HEAD_SIZE = 64.0;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let token = workgroup.y;
    if (token >= rows.count) {
        return;
    }
    let channel = min(workgroup.x * 64u + local, params.width - 1u);
    let value = y[token * params.width + channel];
    let centred = value - head_sum(local, value, vec4<f32>()).x / HEAD_SIZE;
    let variance = head_sum(local, centred * centred, vec4<f32>()).x / HEAD_SIZE;
    if (workgroup.x * 64u + local < params.width) {
        let scale = 1.0 / sqrt(variance + EPSILON);
        let normalised = centred * scale * vectors[params.norm_weight + channel] + vectors[params.norm_bias + channel];
        out[token * params.width + channel] = vec4<{{ output }}>(normalised);
    }
}
