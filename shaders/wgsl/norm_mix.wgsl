{% if output == "f16" %}
enable f16;
{% endif %}
// Layer norm, then token shift: {{ mixes }} mixtures of each normed row with its predecessor in its sequence. Twins: twins::layer_norm,
// twins::token_shift.
{% if guessed %}
// The rows are guesses: none becomes a sequence's shift, each is noted in a log.
{% endif %}
{% include "rows.wgsl" %}
struct Params {
    width: u32,      // vec4s of a row
    weight: u32,     // first vec4 in vectors
    bias: u32,
    epsilon: f32,
    mixes: u32,      // first vec4 in vectors of the first mix; the others follow
    mix_stride: u32,  // vec4s from a mixture of the first row to the next one
    shift: u32,       // first vec4 of the layer in the shifts of a slot
    slot_stride: u32, // vec4s from the shifts of a slot to those of the next
}

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // [rows, width]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<{{ output }}>>; // [mixes, rows, width]
@group(0) @binding(5) var<storage, {{ "read" if guessed else "read_write" }}> shifts: array<vec4<f32>>; // [slots, layers, width]: the normed row before the first
{% include "links.wgsl" %}
@group(0) @binding(6) var<storage, read> links: array<Link>; // [rows]
{% if guessed %}
@group(0) @binding(7) var<storage, read> due: array<vec4<f32>>; // [rows, layers, width]: the log of the run before
@group(0) @binding(8) var<storage, read_write> noted: array<vec4<f32>>; // [rows, layers, width]: that of this run
{% endif %}

override WORKGROUP = 256u;

{% include "moments.wgsl" %}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = workgroup.x;
    if (row >= rows.count) {
        return;
    }
    let link = links[row];
    let first = row * params.width;
    let other = link.other * params.width;
    let shift = link.slot * params.slot_stride + params.shift;
    let begins = link.slot != NO_SLOT;
    {% if guessed %}
    let is_due = (link.slot & DUE) != 0u;
    let due_row = (link.slot & ~DUE) * params.slot_stride + params.shift;
    {% else %}
    // The first row of a sequence has the one before in `shifts`, and turns the last row into the new one there, as no other
    // workgroup may touch it.
    {% endif %}
    let both = moments(local, vec2<u32>(first, other));
    for (var i = local; i < params.width; i += WORKGROUP) {
        let now = normalised(x[first + i], both.mean.x, both.scale.x, i);
        let of_other = normalised(x[other + i], both.mean.y, both.scale.y, i);
        var before = of_other;
        {% if guessed %}
        if (begins && is_due) {
            before = due[due_row + i];
        } else if (begins) {
            before = shifts[shift + i];
        }
        noted[row * params.slot_stride + params.shift + i] = now;
        {% else %}
        if (begins) {
            before = shifts[shift + i];
            shifts[shift + i] = of_other;
        }
        {% endif %}
        // All mixes are asked for before the first mixture is stored: no load may overtake a store.
        {% for m in range(mixes) %}
        let mix{{ m }} = vectors[params.mixes + {{ m }}u * params.width + i];
        {% endfor %}
        {% for m in range(mixes) %}
        out[first + i + {{ m }}u * params.mix_stride] = vec4<{{ output }}>(now + (before - now) * mix{{ m }});
        {% endfor %}
    }
}
