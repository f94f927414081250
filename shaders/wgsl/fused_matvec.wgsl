// Matrices times one token, with what comes before it: {{ "layer norm and token shift" if shift else "layer norm" if norm else "nothing" }}. The matrices of a dispatch may have different
// encodings; a workgroup serves one of them. Twins: twins::matmul{% if norm %}, twins::layer_norm{% endif %}{% if shift %}, twins::token_shift{% endif %}.
{% if integers %}
// The input of matrices of integers is rounded to integers too{% if rounded %}, by the kernel before{% endif %}. Twin: twins::quantise.
{% endif %}
// {{ lanes }} invocations share {{ rows }} rows: their weights are loaded together and meet each loaded input.{% if unequal %} Those of floats, which are
// several times as long, they take one by one.{% endif %}
{% set ones_in_offset = true %}
{% include "jobs.wgsl" %}
{% if norm %}
struct Norm {
    weight: u32, // first vec4 in vectors
    bias: u32,
    epsilon: f32,
}

@group(0) @binding(6) var<uniform> norm: Norm;
{% endif %}
{% if shift %}
@group(0) @binding(7) var<storage, read> shift: array<vec4<f32>>; // [width]: the normed row of the token before
@group(0) @binding(8) var<storage, read_write> next_shift: array<vec4<f32>>; // [width]: that of this token
{% endif %}

const WORKGROUP = {{ workgroup }}u;
const LANES = {{ lanes }}u;
const ROWS = {{ rows }}u;
const GROUPS = {{ workgroup // lanes }}u;
{% if subgroup %}
const SHUFFLED = {{ shuffled }}u; // lanes that add up their sums in a subgroup
{% endif %}
const SPANS = {{ spans }}u; // of every row
const WIDTH = {{ spans * 8 }}u; // vec4s of the input

{% if norm %}
// The input, with a gap after every 16 vec4s, which spreads the lanes' accesses over the banks.
var<workgroup> row_input: array<vec4<f32>, {{ spans * 8 + (spans * 8 + 15) // 16 }}>;
// What the norm's two sums are made of.
var<workgroup> norm_parts: array<f32, {{ workgroup // 2 if subgroup else workgroup }}>;
{% endif %}
{% if integers and not rounded %}
const HALVES = {{ spans * 2 }}u;
// The input's integers, [halves, 16 columns]; then their step and their sum.
var<workgroup> integers: array<vec4<u32>, {{ halves }}>;
var<workgroup> steps: array<vec2<f32>, {{ spans * 2 }}>;
{% endif %}
{% if rounds_output %}
var<workgroup> finished: array<f32, {{ workgroup // lanes * rows }}>; // the results of the workgroup's rows
{% endif %}
{% if not subgroup %}
var<workgroup> sums: array<f32, {{ workgroup // lanes * rows * (lanes + 1) }}>; // [groups, rows, lanes], and a gap
{% elif lanes > shuffled %}
var<workgroup> sums: array<f32, {{ workgroup // shuffled * rows }}>; // [groups, subgroups of a group, rows]
{% endif %}

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

{% if norm %}
// The sum of `value` over the workgroup, the first (`which` 0) or the second of them.
fn workgroup_sum(local: u32, subgroup: vec2<u32>, which: u32, value: f32) -> f32 {
    {% if subgroup %}
    let first = which * {{ workgroup // 4 }}u;
    let sum = subgroupAdd(value);
    if (subgroup.y == 0u) {
        norm_parts[first + local / subgroup.x] = sum;
    }
    workgroupBarrier();
    var all = 0.0;
    for (var i = 0u; i < WORKGROUP / subgroup.x; i++) {
        all += norm_parts[first + i];
    }
    return all;
    {% else %}
    workgroupBarrier(); // the last sum has been read
    norm_parts[local] = value;
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if (local < width) {
            norm_parts[local] += norm_parts[local + width];
        }
    }
    workgroupBarrier();
    return norm_parts[0];
    {% endif %}
}

{% set loads = (spans * 8 + workgroup - 1) // workgroup %}
// The norm and the token shift, of which `row_input` is made. All that it reads is asked for at once, before it waits.
fn prepare_input(job: Job, local: u32, subgroup: vec2<u32>, is_first: bool) {
    {% for l in range(loads) %}
    let i{{ l }} = {% if (l + 1) * workgroup > spans * 8 %}min(local + {{ l * workgroup }}u, WIDTH - 1u){% else %}local + {{ l * workgroup }}u{% endif %};
    var x{{ l }} = input[{% if not shift %}rows.first * WIDTH + {% endif %}i{{ l }}];
    {% endfor %}
    {% for l in range(loads) %}
    let weight{{ l }} = vectors[norm.weight + i{{ l }}];
    let bias{{ l }} = vectors[norm.bias + i{{ l }}];
    {% if shift %}
    let before{{ l }} = shift[i{{ l }}];
    let mix{{ l }} = vectors[job.mix + i{{ l }}];
    {% endif %}
    {% endfor %}
    var sum = vec4<f32>();
    {% for l in range(loads) %}
    sum += {% if (l + 1) * workgroup > spans * 8 %}select(vec4<f32>(), x{{ l }}, local + {{ l * workgroup }}u < WIDTH){% else %}x{{ l }}{% endif %};
    {% endfor %}
    let mean = workgroup_sum(local, subgroup, 0u, total(sum)) / f32(4u * WIDTH);
    var squares = vec4<f32>();
    {% for l in range(loads) %}
    x{{ l }} -= mean;
    squares += {% if (l + 1) * workgroup > spans * 8 %}select(vec4<f32>(), x{{ l }} * x{{ l }}, local + {{ l * workgroup }}u < WIDTH){% else %}x{{ l }} * x{{ l }}{% endif %};
    {% endfor %}
    let variance = workgroup_sum(local, subgroup, 1u, total(squares)) / f32(4u * WIDTH);
    let scale = 1.0 / sqrt(variance + norm.epsilon);
    // Where invocations are left over they write the last column's number again.
    {% for l in range(loads) %}
    let now{{ l }} = x{{ l }} * scale * weight{{ l }} + bias{{ l }};
    {% if shift %}
    row_input[i{{ l }} + i{{ l }} / 16u] = now{{ l }} + (before{{ l }} - now{{ l }}) * mix{{ l }};
    if (is_first) {
        next_shift[i{{ l }}] = now{{ l }};
    }
    {% else %}
    row_input[i{{ l }} + i{{ l }} / 16u] = now{{ l }};
    {% endif %}
    {% endfor %}
    workgroupBarrier();
}
{% endif %}

{% if not rounded %}
// Four columns of the input.
fn input_at(job: Job, column: u32) -> vec4<f32> {
    {% if norm %}
    return row_input[column + column / 16u];
    {% else %}
    return input[job.input + column];
    {% endif %}
}
{% endif %}

{% if integers or rounds_output %}
{% include "rounding.wgsl" %}
{% endif %}

{% if rounds_output %}
fn finished_at(first: u32) -> vec4<f32> {
    return vec4<f32>(finished[first], finished[first + 1u], finished[first + 2u], finished[first + 3u]);
}

{% include "store_rounded.wgsl" %}
{% endif %}

{% if integers %}
{% if rounded %}
// Sixteen columns of the input, which lies span by span: the integers of both halves, then both steps and sums.
fn integers_at(job: Job, half: u32) -> Rounded {
    let span = job.input + 3u * (half >> 1u);
    let steps = bitcast<vec4<f32>>(input[span + 2u]);
    return Rounded(input[span + (half & 1u)], select(steps.xy, steps.zw, (half & 1u) == 1u));
}
{% else %}
// Where the integers of 16 columns lie. Every other eight are backwards, so that eight lanes meet no bank twice in any
// encoding.
fn integers_place(half: u32) -> u32 {
    return select(half, half ^ 7u, (half & 8u) != 0u);
}

fn integers_at(job: Job, half: u32) -> Rounded {
    return Rounded(integers[integers_place(half)], steps[half]);
}

// Rounds the input.
fn quantise(job: Job, local: u32) {
    for (var half = local; half < HALVES; half += WORKGROUP) {
        {% for c in range(4) %}
        let x{{ c }} = input_at(job, 4u * half + {{ c }}u);
        {% endfor %}
        let sixteen = rounded(x0, x1, x2, x3);
        integers[integers_place(half)] = sixteen.integers;
        steps[half] = sixteen.step_and_sum;
    }
    workgroupBarrier();
}
{% endif %}

{% endif %}

// The weights that an invocation has under way of one row.
{% macro fetch(e, r, unit, pairs) %}
{%- if pairs %}fetch_pair{{ e }}(row{{ r }}, SPANS, min({{ unit }}, SPANS / 2u - 1u)){% else %}fetch{{ e }}(row{{ r }}, SPANS, min({{ unit }}, SPANS - 1u)){% endif %}
{%- endmacro %}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    {% if norm and subgroup %}
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) subgroup_invocation: u32,
    {% endif %}
) {
    let index = workgroup.y * workgroups.x + workgroup.x;
    // Which matrix this workgroup serves: known without a look at the jobs, whose every line is one more wait.
    {% for matrix in matrices[1:] %}
    let beyond{{ loop.index }} = index >= {{ matrix.first_workgroup }}u;
    {% endfor %}
    let which = 0u{% for matrix in matrices[1:] %} + u32(beyond{{ loop.index }}){% endfor %};
    let job = jobs[which];
    {% for matrix in matrices %}
    {% if loop.first %}
    let first_workgroup0 = 0u;
    let matrix_rows0 = {{ matrix.rows }}u;
    {% else %}
    let first_workgroup{{ loop.index0 }} = select(first_workgroup{{ loop.index0 - 1 }}, {{ matrix.first_workgroup }}u, beyond{{ loop.index0 }});
    let matrix_rows{{ loop.index0 }} = select(matrix_rows{{ loop.index0 - 1 }}, {{ matrix.rows }}u, beyond{{ loop.index0 }});
    {% endif %}
    {% endfor %}
    let matrix_rows = matrix_rows{{ matrices | length - 1 }};
    {% if unequal %}
    let shared_rows = select(1u, ROWS, {% for matrix in matrices if matrix.shared_rows == rows %}{{ " | " if not loop.first }}(which == {{ matrix.index }}u){% endfor %});
    {% else %}
    let shared_rows = ROWS;
    {% endif %}
    let lane = local % LANES;
    let group = local / LANES;
    let workgroup_row = (index - first_workgroup{{ matrices | length - 1 }}) * GROUPS * shared_rows;
    let first_row = workgroup_row + group * shared_rows;
    // Rows that there are not repeat the last one; their results are dropped.
    {% for r in range(rows) %}
    let row{{ r }} = job.weights + min(first_row + {{ r }}u, matrix_rows - 1u) * job.weights_stride;
    var sum{{ r }} = 0.0;
    {% endfor %}
    {% if norm %}
    let subgroup = vec2<u32>({% if subgroup %}subgroup_size, subgroup_invocation{% else %}1u, 0u{% endif %});
    {% endif %}
    // The row that this invocation will finish, and what the output holds of it.
    {% if subgroup and lanes == shuffled %}
    let own_row = first_row + lane;
    let finishes = lane < shared_rows && own_row < matrix_rows;
    {% else %}
    let own_row = workgroup_row + local;
    let finishes = local < GROUPS * shared_rows && own_row < matrix_rows;
    {% endif %}
    let old = held(job, 0u, min(own_row, matrix_rows - 1u));

    {% set suffixes = [""] if encodings | length == 1 else range(encodings | length) %}
    {% for e in suffixes %}
    {% set loop_encoding = loop.index0 %}
    {% if encodings | length > 1 %}
    {{ "if" if loop.first else "} else if" }} ({% for matrix in matrices if matrix.encoding == e %}{{ " | " if not loop.first }}(which == {{ matrix.index }}u){% endfor %}) {
    {% endif %}
    {% set by_integers = integers and loop_encoding in integer_encodings %}
    {% set pairs = integers and loop_encoding in pair_encodings %}
    {% set own_rows = rows if by_integers or not unequal else 1 %}
    // The first weights are under way while the input is made.
    {% for r in range(own_rows) %}
    {% for d in range(depth) %}
    var packed{{ r }}_{{ d }} = {{ fetch(e, r, "lane + " ~ d * lanes ~ "u", pairs) }};
    {% endfor %}
    {% endfor %}
    {% if norm %}
    prepare_input(job, local, subgroup, index == 0u);
    {% endif %}
    {% if by_integers and not rounded %}
    quantise(job, local);
    {% endif %}
    // A loop in few instructions: one that is unrolled waits for its instructions longer than for its weights.
    for (var {{ "pair" if pairs else "span" }} = lane; {{ "pair < SPANS / 2u; pair" if pairs else "span < SPANS; span" }} += LANES) {
        {% for r in range(own_rows) %}
        let weights{{ r }} = packed{{ r }}_0;
        {% for d in range(1, depth) %}
        packed{{ r }}_{{ d - 1 }} = packed{{ r }}_{{ d }};
        {% endfor %}
        packed{{ r }}_{{ depth - 1 }} = {{ fetch(e, r, ("pair" if pairs else "span") ~ " + " ~ depth * lanes ~ "u", pairs) }};
        {% endfor %}
        {% if pairs %}
        let sixteens = pair_sixteens{{ e }}(pair);
        {% for i in range(4) %}
        let x{{ i }} = integers_at(job, sixteens[{{ i }}]);
        {% endfor %}
        {% for r in range(own_rows) %}
        sum{{ r }} += pair_product{{ e }}(weights{{ r }}, pair, x0, x1, x2, x3);
        {% endfor %}
        {% else %}
        {% for half in range(2) %}
        {% if by_integers %}
        {
            let x = integers_at(job, (first_column{{ e }}(span) + {{ half }}u * HALF_STRIDE{{ e }}) >> 4u);
            {% for r in range(own_rows) %}
            {
                let dot = f32(dot_sixteen(quants{{ e }}(weights{{ r }}, span, {{ half }}u), x.integers));
                let factors = factors{{ e }}(weights{{ r }}, span, {{ half }}u);
                sum{{ r }} += fma(factors.x, x.step_and_sum.x * dot, factors.y * x.step_and_sum.y);
            }
            {% endfor %}
        }
        {% elif not rounded %}
        {
            let column = (first_column{{ e }}(span) + {{ half }}u * HALF_STRIDE{{ e }}) >> 2u;
            {% for c in range(4) %}
            let x{{ c }} = input_at(job, column + {{ c }}u);
            {% endfor %}
            let inputs = total((x0 + x1) + (x2 + x3));
            {% for r in range(own_rows) %}
            {
                let w = decode{{ e }}(weights{{ r }}, span, {{ half }}u);
                let product = fma(w.quants[3], x3, fma(w.quants[2], x2, fma(w.quants[1], x1, w.quants[0] * x0)));
                sum{{ r }} += fma(w.scale, total(product), w.offset * inputs);
            }
            {% endfor %}
        }
        {% endif %}
        {% endfor %}
        {% endif %}
    }
    {% endfor %}
    {% if encodings | length > 1 %}
    }
    {% endif %}

    {% if subgroup %}
    {% for mask in [1, 2, 4, 8, 16, 32, 64] if mask < shuffled %}
    {% for r in range(rows) %}
    sum{{ r }} += subgroupShuffleXor(sum{{ r }}, {{ mask }}u);
    {% endfor %}
    {% endfor %}
    var product = sum0;
    {% if lanes == shuffled %}
    {% for r in range(1, rows) %}
    product = select(product, sum{{ r }}, lane == {{ r }}u);
    {% endfor %}
    {% else %}
    if (local % SHUFFLED == 0u) {
        {% for r in range(rows) %}
        sums[local / SHUFFLED * ROWS + {{ r }}u] = sum{{ r }};
        {% endfor %}
    }
    workgroupBarrier();
    if (finishes) {
        let first = local / shared_rows * {{ lanes // shuffled * rows }}u + local % shared_rows;
        product = sums[first];
        {% for i in range(1, lanes // shuffled) %}
        product += sums[first + {{ i * rows }}u];
        {% endfor %}
    }
    {% endif %}
    {% else %}
    {% for r in range(rows) %}
    sums[(group * ROWS + {{ r }}u) * (LANES + 1u) + lane] = sum{{ r }};
    {% endfor %}
    workgroupBarrier();
    // One invocation adds up the lanes of one row.
    var product = 0.0;
    if (finishes) {
        let first = (local / shared_rows * ROWS + local % shared_rows) * (LANES + 1u);
        for (var i = 0u; i < LANES; i++) {
            product += sums[first + i];
        }
    }
    {% endif %}
    {% if rounds_output %}
    if (finishes) {
        finished[own_row - workgroup_row] = results(job, 0u, own_row, vec4<f32>(product), vec4<f32>(old)).x;
    }
    workgroupBarrier();
    // The results are the input of a kernel that wants them rounded.
    let first = 16u * local;
    if (first < GROUPS * ROWS && workgroup_row + first < matrix_rows) {
        store_rounded(job.output, (workgroup_row + first) >> 4u, rounded({% for c in range(4) %}finished_at(first + {{ 4 * c }}u), {% endfor %}));
    }
    {% else %}
    if (finishes) {
        out[job.output + own_row] = results(job, 0u, own_row, vec4<f32>(product), vec4<f32>(old)).x;
    }
    {% endif %}
}
