{% if output == "f16" %}
enable f16;
{% endif %}
// Layer norm, then token shift: {{ mixes }} mixtures of each normed row with its predecessor. Twins: twins::layer_norm,
// twins::token_shift.
{% include "rows.wgsl" %}
struct Params {
    width: u32,      // vec4s of a row
    weight: u32,     // first vec4 in vectors
    bias: u32,
    epsilon: f32,
    mixes: u32,      // first vec4 in vectors of the first mix; the others follow
    mix_stride: u32, // vec4s from a mixture of the first row to the next one
}

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // [rows, width]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<{{ output }}>>; // [mixes, rows, width]
@group(0) @binding(5) var<storage, read_write> shift: array<vec4<f32>>; // [width]: the normed row before the first

override WORKGROUP = 256u;

{% include "moments.wgsl" %}

fn store(at: u32, i: u32, now: vec4<f32>, before: vec4<f32>) {
    {% for m in range(mixes) %}
    out[at + {{ m }}u * params.mix_stride] = vec4<{{ output }}>(now + (before - now) * vectors[params.mixes + {{ m }}u * params.width + i]);
    {% endfor %}
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = workgroup.x;
    if (row >= rows.count) {
        return;
    }
    let first = row * params.width;
    let now = moments(local, first);
    if (row > 0u) {
        let first_before = first - params.width;
        let before = moments(local, first_before);
        for (var i = local; i < params.width; i += WORKGROUP) {
            store(first + i, i, normalised(now, first, i), normalised(before, first_before, i));
        }
        return;
    }
    // The last row becomes the new `shift`. The first workgroup sees to it, as no other may touch `shift`.
    let last = (rows.count - 1u) * params.width;
    let last_moments = moments(local, last);
    for (var i = local; i < params.width; i += WORKGROUP) {
        store(i, i, normalised(now, first, i), shift[i]);
        shift[i] = normalised(last_moments, last, i);
    }
}
