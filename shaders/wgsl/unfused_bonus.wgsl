{% if output == "f16" %}
enable f16;
{% endif %}
// The bonus: v * sum(r * k * r_k) of each head added to y. Twin: twins::bonus.
{% include "rows.wgsl" %}
{% include "time_mix.wgsl" %}
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> y: array<vec4<f32>>; // [tokens, width]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<{{ output }}>>; // [tokens, width]

{% include "head_sum.wgsl" %}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let token = workgroup.y;
    if (token >= rows.count) {
        return;
    }
    let channel = min(workgroup.x * 64u + local, params.width - 1u);
    let r = mixed[mixed_at(RECEPTANCE, token, channel)];
    let k = mixed[mixed_at(KEY, token, channel)];
    let weight = head_sum(local, r * k * vectors[params.r_k + channel], vec4<f32>()).x;
    if (workgroup.x * 64u + local < params.width) {
        let at = token * params.width + channel;
        out[at] = vec4<{{ output }}>(y[at] + weight * mixed[mixed_at(params.value_slot, token, channel)]);
    }
}
