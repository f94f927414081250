// The key that the recurrence removes, kk = normalised(k * k_k), and the key that it adds, k * (1 + (a - 1) * k_a),
// which replaces k. Twins: twins::removal_key, twins::scale_key.
{% include "rows.wgsl" %}
{% include "time_mix.wgsl" %}
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> mixed: array<vec4<f32>>;

{% include "head_sum.wgsl" %}
const LEAST_NORM = 1e-12;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let token = workgroup.y;
    if (token >= rows.count) {
        return;
    }
    let channel = min(workgroup.x * 64u + local, params.width - 1u);
    let k = mixed[mixed_at(KEY, token, channel)];
    let raw = k * vectors[params.k_k + channel];
    let norm = sqrt(head_sum(local, raw * raw, vec4<f32>()).x);
    if (workgroup.x * 64u + local < params.width) {
        let a = mixed[mixed_at(ICLR, token, channel)];
        mixed[mixed_at(REMOVAL_KEY, token, channel)] = raw / max(norm, LEAST_NORM);
        mixed[mixed_at(KEY, token, channel)] = k * (1.0 + (a - 1.0) * vectors[params.k_a + channel]);
    }
}
