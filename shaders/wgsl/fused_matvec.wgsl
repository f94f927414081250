// Matrices times one token, with what comes before it: {{ "layer norm and token shift" if shift else "layer norm" if norm else "nothing" }}. The matrices of a dispatch may have different
// encodings; a workgroup serves one of them. Twins: twins::matmul{% if norm %}, twins::layer_norm{% endif %}{% if shift %}, twins::token_shift{% endif %}.
{% if digits %}
// The input of matrices of integers is rounded to integers too, of {{ digits }} bytes. Twin: twins::quantise.
{% endif %}
// {{ lanes }} invocations share {{ rows }} rows: their weights are loaded together and meet each loaded input.
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
{% if digits %}
const HALVES = {{ spans * 2 }}u; // 16 columns of the input share a step: x = step * n, n an integer
const LARGEST = {{ largest_integer }}.0; // |n|
const DIGIT_SIGNS = {{ digit_signs }}; // the top bit of each digit

// Bytes of n, the lowest first: [digits, halves, 16 columns]. What is left of n above a byte is rounded, so that every
// byte is a signed number.
var<workgroup> digits: array<vec4<u32>, {{ digits * halves }}>;
// A half's step, and the sum of its x.
var<workgroup> steps: array<vec2<f32>, {{ spans * 2 }}>;
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

// Four columns of the input.
fn input_at(job: Job, column: u32) -> vec4<f32> {
    {% if norm %}
    return row_input[column + column / 16u];
    {% else %}
    return input[job.input + column];
    {% endif %}
}

{% if digits %}
// Where a digit of 16 columns lies. Every other eight are backwards, so that eight lanes meet no bank twice in any
// encoding.
fn digits_at(digit: u32, half: u32) -> u32 {
    return {{ halves }}u * digit + select(half, half ^ 7u, (half & 8u) != 0u);
}

fn digit_of(n: vec4<i32>, digit: u32) -> u32 {
    // The top bit added to all digits carries what rounding leaves above; in the digit itself it is flipped back.
    return pack4xU8(bitcast<vec4<u32>>(n + DIGIT_SIGNS) >> vec4<u32>(8u * digit)) ^ 0x80808080u;
}

{% include "rounding.wgsl" %}

// Rounds 16 columns to integers.
fn quantise(job: Job, half: u32) {
    {% for c in range(4) %}
    let x{{ c }} = input_at(job, 4u * half + {{ c }}u);
    {% endfor %}
    let by = rounding(x0, x1, x2, x3, LARGEST);
    {% for c in range(4) %}
    let n{{ c }} = vec4<i32>(round(x{{ c }} * by.x));
    {% endfor %}
    {% for d in range(digits) %}
    digits[digits_at({{ d }}u, half)] = vec4<u32>(digit_of(n0, {{ d }}u), digit_of(n1, {{ d }}u), digit_of(n2, {{ d }}u), digit_of(n3, {{ d }}u));
    {% endfor %}
    let n = (n0 + n1) + (n2 + n3);
    steps[half] = vec2<f32>(by.y, by.y * f32((n.x + n.y) + (n.z + n.w)));
}

// The product of sixteen quants with a digit.
fn dot_sixteen(quants: vec4<u32>, digits: vec4<u32>) -> i32 {
    return dot4I8Packed(quants.x, digits.x) + dot4I8Packed(quants.y, digits.y)
        + dot4I8Packed(quants.z, digits.z) + dot4I8Packed(quants.w, digits.w);
}
{% endif %}

// The weights that an invocation has under way of one row.
{% macro fetch(e, r, span) %}fetch{{ e }}(row{{ r }}, SPANS, min({{ span }}, SPANS - 1u)){% endmacro %}

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
    let lane = local % LANES;
    let group = local / LANES;
    let workgroup_row = (index - first_workgroup{{ matrices | length - 1 }}) * GROUPS * ROWS;
    let first_row = workgroup_row + group * ROWS;
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
    let finishes = lane < ROWS && own_row < matrix_rows;
    {% else %}
    let own_row = workgroup_row + local;
    let finishes = local < GROUPS * ROWS && own_row < matrix_rows;
    {% endif %}
    let old = held(job, 0u, min(own_row, matrix_rows - 1u));

    {% set suffixes = [""] if encodings | length == 1 else range(encodings | length) %}
    {% for e in suffixes %}
    {% set loop_encoding = loop.index0 %}
    {% if encodings | length > 1 %}
    {{ "if" if loop.first else "} else if" }} ({% for matrix in matrices if matrix.encoding == e %}{{ " | " if not loop.first }}(which == {{ matrix.index }}u){% endfor %}) {
    {% endif %}
    // The first weights are under way while the input is made.
    {% for r in range(rows) %}
    {% for d in range(depth) %}
    var packed{{ r }}_{{ d }} = {{ fetch(e, r, "lane + " ~ d * lanes ~ "u") }};
    {% endfor %}
    {% endfor %}
    {% if norm %}
    prepare_input(job, local, subgroup, index == 0u);
    {% endif %}
    {% if digits and loop_encoding in integer_encodings %}
    for (var half = local; half < HALVES; half += WORKGROUP) {
        quantise(job, half);
    }
    workgroupBarrier();
    {% endif %}
    // A loop in few instructions: one that is unrolled waits for its instructions longer than for its weights.
    for (var span = lane; span < SPANS; span += LANES) {
        {% for r in range(rows) %}
        let weights{{ r }} = packed{{ r }}_0;
        {% for d in range(1, depth) %}
        packed{{ r }}_{{ d - 1 }} = packed{{ r }}_{{ d }};
        {% endfor %}
        packed{{ r }}_{{ depth - 1 }} = {{ fetch(e, r, "span + " ~ depth * lanes ~ "u") }};
        {% endfor %}
        {% for half in range(2) %}
        {% if digits and loop_encoding in integer_encodings %}
        {
            let of_row = (first_column{{ e }}(span) + {{ half }}u * HALF_STRIDE{{ e }}) >> 4u;
            let step = steps[of_row];
            {% for d in range(digits) %}
            let digit{{ d }} = digits[digits_at({{ d }}u, of_row)];
            {% endfor %}
            {% for r in range(rows) %}
            {
                let quants = quants{{ e }}(weights{{ r }}, span, {{ half }}u);
                let factors = factors{{ e }}(weights{{ r }}, span, {{ half }}u);
                {% for d in range(digits) %}
                let dot{{ d }} = dot_sixteen(quants, digit{{ d }});
                {% endfor %}
                let product = {{ "f32(dot0)" if digits == 1 else "f32(256 * dot1 + dot0)" if digits == 2 else "fma(65536.0, f32(dot2), f32(256 * dot1 + dot0))" }};
                sum{{ r }} += fma(factors.x, step.x * product, factors.y * step.y);
            }
            {% endfor %}
        }
        {% else %}
        {
            let column = (first_column{{ e }}(span) + {{ half }}u * HALF_STRIDE{{ e }}) >> 2u;
            {% for c in range(4) %}
            let x{{ c }} = input_at(job, column + {{ c }}u);
            {% endfor %}
            let inputs = total((x0 + x1) + (x2 + x3));
            {% for r in range(rows) %}
            {
                let w = decode{{ e }}(weights{{ r }}, span, {{ half }}u);
                let product = fma(w.quants[3], x3, fma(w.quants[2], x2, fma(w.quants[1], x1, w.quants[0] * x0)));
                sum{{ r }} += fma(w.scale, total(product), w.offset * inputs);
            }
            {% endfor %}
        }
        {% endif %}
        {% endfor %}
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
        let first = local / ROWS * {{ lanes // shuffled * rows }}u + local % ROWS;
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
        for (var i = 0u; i < LANES; i++) {
            product += sums[local * (LANES + 1u) + i];
        }
    }
    {% endif %}
    if (finishes) {
        out[job.output + own_row] = results(job, 0u, own_row, vec4<f32>(product), vec4<f32>(old)).x;
    }
}
