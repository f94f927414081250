{% if output == "f16" %}
enable f16;
{% endif %}
// Layer norm, then token shift: {{ mixes }} mixtures of each normed row with its predecessor in its sequence. Twins: twins::layer_norm,
// twins::token_shift.
{% if parts > 0 %}
// To each row the sum of {{ parts }} parts of a product is added first. No other row is of the same sequence.
{% endif %}
{% if guessed %}
// The rows are guesses: none becomes a sequence's shift, each is noted in a log.
{% endif %}
{% include "rows.wgsl" %}
struct Params {
    weight: u32,     // first vec4 in vectors
    bias: u32,
    epsilon: f32,
    mixes: u32,      // first vec4 in vectors of the first mix; the others follow
    mix_stride: u32,  // vec4s from a mixture of the first row to the next one
    shift: u32,       // first vec4 of the layer in the shifts of a slot
    slot_stride: u32, // vec4s from the shifts of a slot to those of the next
    part_stride: u32, // vec4s from part to part
    part_scale: f32,  // what their sum is divided by
}

const WIDTH = {{ width }}u; // vec4s of a row
const WORKGROUP = {{ workgroup }}u;

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, {{ "read_write" if parts > 0 else "read" }}> x: array<vec4<f32>>; // [rows, width]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<{{ output }}>>; // [mixes, rows, width]
@group(0) @binding(5) var<storage, {{ "read" if guessed else "read_write" }}> shifts: array<vec4<f32>>; // [slots, layers, width]: the normed row before the first
{% include "links.wgsl" %}
@group(0) @binding(6) var<storage, read> links: array<Link>; // [rows]
{% if guessed %}
@group(0) @binding(7) var<storage, read> due: array<vec4<f32>>; // [rows, layers, width]: the log of the run before
@group(0) @binding(8) var<storage, read_write> noted: array<vec4<f32>>; // [rows, layers, width]: that of this run
{% endif %}
{% if parts > 0 %}
@group(0) @binding(7) var<storage, read> product: array<vec4<f32>>; // [parts, rows, width]
{% endif %}

{% include "workgroup_sums.wgsl" %}
{% set loads = (width + workgroup - 1) // workgroup %}
{# Whether an invocation may have no column in its load `l`: it then has the last one, which it may store again but not sum. #}
{% macro may_repeat(l) %}{{ "yes" if (l + 1) * workgroup > width }}{% endmacro %}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = workgroup.x;
    if (row >= rows.count) {
        return;
    }
    let link = links[row];
    let first = row * WIDTH;
    {% if parts == 0 %}
    let other = link.other * WIDTH;
    {% endif %}
    let shift = link.slot * params.slot_stride + params.shift;
    let begins = link.slot != NO_SLOT;
    {% if guessed %}
    let is_due = (link.slot & DUE) != 0u;
    let due_row = (link.slot & ~DUE) * params.slot_stride + params.shift;
    {% else %}
    // The first row of a sequence has the one before in `shifts`, and turns the last row into the new one there, as no other
    // workgroup may touch it.
    {% endif %}
    // All that is read is asked for at once, before anything waits and before anything is stored.
    {% for l in range(loads) %}
    let i{{ l }} = {% if may_repeat(l) %}min(local + {{ l * workgroup }}u, WIDTH - 1u){% else %}local + {{ l * workgroup }}u{% endif %};
    var now{{ l }} = x[first + i{{ l }}];
    {% if parts == 0 %}
    var before{{ l }} = x[other + i{{ l }}];
    {% endif %}
    {% for part in range(parts) %}
    let part{{ part }}_{{ l }} = product[{{ part }}u * params.part_stride + first + i{{ l }}];
    {% endfor %}
    {% endfor %}
    {% for l in range(loads) %}
    let weight{{ l }} = vectors[params.weight + i{{ l }}];
    let bias{{ l }} = vectors[params.bias + i{{ l }}];
    {% for m in range(mixes) %}
    let mix{{ m }}_{{ l }} = vectors[params.mixes + {{ m }}u * WIDTH + i{{ l }}];
    {% endfor %}
    var shifted{{ l }}: vec4<f32>;
    {% endfor %}
    {% if guessed %}
    if (begins && is_due) {
        {% for l in range(loads) %}
        shifted{{ l }} = due[due_row + i{{ l }}];
        {% endfor %}
    } else if (begins) {
    {% else %}
    if (begins) {
    {% endif %}
        {% for l in range(loads) %}
        shifted{{ l }} = shifts[shift + i{{ l }}];
        {% endfor %}
    }

    {% if parts > 0 %}
    {% for l in range(loads) %}
    now{{ l }} += (part0_{{ l }}{% for part in range(1, parts) %} + part{{ part }}_{{ l }}{% endfor %}) / params.part_scale;
    let stream{{ l }} = now{{ l }};
    var before{{ l }} = now{{ l }}; // the sequence's last row is its only one
    {% endfor %}
    {% endif %}
    var sums = vec2<f32>();
    {% for l in range(loads) %}
    sums += {% if may_repeat(l) %}select(vec2<f32>(), {% endif %}vec2<f32>(total(now{{ l }}), total(before{{ l }})){% if may_repeat(l) %}, local + {{ l * workgroup }}u < WIDTH){% endif %};
    {% endfor %}
    let mean = workgroup_sums(local, sums) / f32(4u * WIDTH);
    var squares = vec2<f32>();
    {% for l in range(loads) %}
    now{{ l }} -= mean.x;
    before{{ l }} -= mean.y;
    squares += {% if may_repeat(l) %}select(vec2<f32>(), {% endif %}vec2<f32>(dot(now{{ l }}, now{{ l }}), dot(before{{ l }}, before{{ l }})){% if may_repeat(l) %}, local + {{ l * workgroup }}u < WIDTH){% endif %};
    {% endfor %}
    let variance = workgroup_sums(local, squares) / f32(4u * WIDTH);
    let scale = 1.0 / sqrt(variance + params.epsilon);

    {% for l in range(loads) %}
    {% if parts > 0 %}
    x[first + i{{ l }}] = stream{{ l }}; // which all have read by now, those who repeat a column, too
    {% endif %}
    now{{ l }} = now{{ l }} * scale.x * weight{{ l }} + bias{{ l }};
    before{{ l }} = before{{ l }} * scale.y * weight{{ l }} + bias{{ l }};
    {% if guessed %}
    noted[row * params.slot_stride + params.shift + i{{ l }}] = now{{ l }};
    {% else %}
    if (begins) {
        shifts[shift + i{{ l }}] = before{{ l }};
    }
    {% endif %}
    before{{ l }} = select(before{{ l }}, shifted{{ l }}, begins);
    {% for m in range(mixes) %}
    out[first + i{{ l }} + {{ m }}u * params.mix_stride] = vec4<{{ output }}>(now{{ l }} + (before{{ l }} - now{{ l }}) * mix{{ m }}_{{ l }});
    {% endfor %}
    {% endfor %}
}
