{% if output == "f16" %}
enable f16;
{% endif %}
// The gate: y * g. Twin: twins::gate.
{% include "rows.wgsl" %}
{% include "time_mix.wgsl" %}
@group(0) @binding(2) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> y: array<vec4<f32>>; // [tokens, width]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<{{ output }}>>; // [tokens, width]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let token = workgroup.y;
    let channel = workgroup.x * 64u + local;
    if (token >= rows.count || channel >= params.width) {
        return;
    }
    let at = token * params.width + channel;
    out[at] = vec4<{{ output }}>(y[at] * mixed[mixed_at(GATE, token, channel)]);
}
