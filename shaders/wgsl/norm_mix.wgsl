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

{# Of single rows, which are the last of their sequences, too, one row is normed; of others theirs and the one before. #}
{% set single = parts > 0 %}
{% set summed = "f32" if single else "vec2<f32>" %}
{% set of_now = "" if single else ".x" %}
{% include "workgroup_sums.wgsl" %}

fn square(value: vec4<f32>) -> f32 {
    return dot(value, value);
}

{% set loads = (width + workgroup - 1) // workgroup %}
{# Whether an invocation may have no column in its load `l`: it then has the last one, which it may store again but not sum. #}
{% macro may_repeat(l) %}{{ "yes" if (l + 1) * workgroup > width }}{% endmacro %}
{# What load `l` adds to the sums of a function of the numbers. #}
{% macro share(function, l) %}
{%- if may_repeat(l) %}select({{ summed }}(), {% endif %}
{%- if single %}{{ function }}(now{{ l }}){% else %}vec2<f32>({{ function }}(now{{ l }}), {{ function }}(before{{ l }})){% endif %}
{%- if may_repeat(l) %}, lane.local + {{ l * workgroup }}u < WIDTH){% endif %}
{%- endmacro %}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, lane: Lane) {
    let row = workgroup.x;
    // All that is read is asked for at once, before anything waits and before anything is stored: what the row itself is made of even
    // before it is known whether there is such a row.
    let link = links[row];
    let first = row * WIDTH;
    {% for l in range(loads) %}
    let i{{ l }} = {% if may_repeat(l) %}min(lane.local + {{ l * workgroup }}u, WIDTH - 1u){% else %}lane.local + {{ l * workgroup }}u{% endif %};
    var now{{ l }} = x[first + i{{ l }}];
    {% for part in range(parts) %}
    let part{{ part }}_{{ l }} = product[{{ part }}u * params.part_stride + first + i{{ l }}];
    {% endfor %}
    {% endfor %}
    if (row >= rows.count) {
        return;
    }
    {% if not single %}
    {% for l in range(loads) %}
    var before{{ l }} = x[link.other * WIDTH + i{{ l }}];
    {% endfor %}
    {% endif %}
    {% for l in range(loads) %}
    let weight{{ l }} = vectors[params.weight + i{{ l }}];
    let bias{{ l }} = vectors[params.bias + i{{ l }}];
    {% for m in range(mixes) %}
    let mix{{ m }}_{{ l }} = vectors[params.mixes + {{ m }}u * WIDTH + i{{ l }}];
    {% endfor %}
    var shifted{{ l }}: vec4<f32>;
    {% endfor %}
    let shift = link.slot * params.slot_stride + params.shift;
    let begins = link.slot != NO_SLOT;
    {% if guessed %}
    let is_due = (link.slot & DUE) != 0u;
    let due_row = (link.slot & ~DUE) * params.slot_stride + params.shift;
    if (begins && is_due) {
        {% for l in range(loads) %}
        shifted{{ l }} = due[due_row + i{{ l }}];
        {% endfor %}
    } else if (begins) {
    {% else %}
    // The first row of a sequence has the one before in `shifts`, and turns the last row into the new one there, as no other
    // workgroup may touch it.
    if (begins) {
    {% endif %}
        {% for l in range(loads) %}
        shifted{{ l }} = shifts[shift + i{{ l }}];
        {% endfor %}
    }

    {% if single %}
    {% for l in range(loads) %}
    now{{ l }} += (part0_{{ l }}{% for part in range(1, parts) %} + part{{ part }}_{{ l }}{% endfor %}) / params.part_scale;
    let stream{{ l }} = now{{ l }};
    {% endfor %}
    {% endif %}
    let mean = workgroup_sum(lane, 0u, {% for l in range(loads) %}{{ " + " if not loop.first }}{{ share("total", l) }}{% endfor %}) / f32(4u * WIDTH);
    {% for l in range(loads) %}
    now{{ l }} -= mean{{ of_now }};
    {% if not single %}
    before{{ l }} -= mean.y;
    {% endif %}
    {% endfor %}
    let variance = workgroup_sum(lane, 1u, {% for l in range(loads) %}{{ " + " if not loop.first }}{{ share("square", l) }}{% endfor %}) / f32(4u * WIDTH);
    let scale = 1.0 / sqrt(variance + params.epsilon);

    {% for l in range(loads) %}
    now{{ l }} = now{{ l }} * scale{{ of_now }} * weight{{ l }} + bias{{ l }};
    {% if single %}
    x[first + i{{ l }}] = stream{{ l }}; // which all have read by now, those who repeat a column, too
    {% else %}
    before{{ l }} = before{{ l }} * scale.y * weight{{ l }} + bias{{ l }};
    {% endif %}
    {% set last = "now" if single else "before" %}
    {% if guessed %}
    noted[row * params.slot_stride + params.shift + i{{ l }}] = now{{ l }};
    {% else %}
    if (begins) {
        shifts[shift + i{{ l }}] = {{ last }}{{ l }};
    }
    {% endif %}
    let previous{{ l }} = select({{ last }}{{ l }}, shifted{{ l }}, begins);
    {% for m in range(mixes) %}
    out[first + i{{ l }} + {{ m }}u * params.mix_stride] = vec4<{{ output }}>(now{{ l }} + (previous{{ l }} - now{{ l }}) * mix{{ m }}_{{ l }});
    {% endfor %}
    {% endfor %}
}
