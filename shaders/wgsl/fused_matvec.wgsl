// Matrices times one token, with what comes before it: {{ "layer norm and token shift" if shift else "layer norm" if norm else "nothing" }}. The matrices of a dispatch may have different
// encodings; a workgroup serves one of them. Twins: twins::matmul{% if norm %}, twins::layer_norm{% endif %}{% if shift %}, twins::token_shift{% endif %}.
// {{ lanes }} invocations share {{ rows }} rows: their weights are loaded together and meet each loaded input.
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
const SPANS = {{ spans }}u; // of every row
const WIDTH = {{ spans * 8 }}u; // vec4s of the input

{% if norm %}
// The input, with a gap after every 16 vec4s, which spreads the lanes' accesses over the banks.
var<workgroup> row_input: array<vec4<f32>, {{ spans * 8 + (spans * 8 + 15) // 16 }}>;
var<workgroup> norm_parts: array<f32, {{ workgroup // 4 if subgroup else workgroup }}>;
{% endif %}
{% if not subgroup %}
var<workgroup> sums: array<f32, {{ workgroup // lanes * rows * (lanes + 1) }}>; // [groups, rows, lanes], and a gap
{% endif %}

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

{% if norm %}
// The sum of `value` over the workgroup.
fn workgroup_sum(local: u32, subgroup: vec2<u32>, value: f32) -> f32 {
    workgroupBarrier(); // the last sum has been read
    {% if subgroup %}
    let sum = subgroupAdd(value);
    if (subgroup.y == 0u) {
        norm_parts[local / subgroup.x] = sum;
    }
    workgroupBarrier();
    var all = 0.0;
    for (var i = 0u; i < WORKGROUP / subgroup.x; i++) {
        all += norm_parts[i];
    }
    return all;
    {% else %}
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
{% endif %}

// Four columns of the input.
fn input_at(job: Job, column: u32) -> vec4<f32> {
    {% if norm %}
    return row_input[column + column / 16u];
    {% else %}
    return input[job.input + column];
    {% endif %}
}

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
    var which = 0u;
    {% for j in range(1, max_fused_jobs) %}
    which = select(which, {{ j }}u, jobs[{{ j }}].rows > 0u && index >= jobs[{{ j }}].first_workgroup);
    {% endfor %}
    let job = jobs[which];
    let lane = local % LANES;
    let group = local / LANES;
    let first_row = ((index - job.first_workgroup) * GROUPS + group) * ROWS;
    // Rows that there are not repeat the last one; their results are dropped.
    {% for r in range(rows) %}
    let row{{ r }} = job.weights + min(first_row + {{ r }}u, job.rows - 1u) * job.weights_stride;
    var sum{{ r }} = 0.0;
    {% endfor %}

    {% if norm %}
    {
        {% set loads = (spans * 8 + workgroup - 1) // workgroup %}
        let subgroup = vec2<u32>({% if subgroup %}subgroup_size, subgroup_invocation{% else %}1u, 0u{% endif %});
        let row = job.input + rows.first * WIDTH;
        var sum = vec4<f32>();
        {% for l in range(loads) %}
        {% set guarded = (l + 1) * workgroup > spans * 8 %}
        var x{{ l }} = vec4<f32>();
        {% if guarded %}
        if (local + {{ l * workgroup }}u < WIDTH)
        {% endif %}
        {
            x{{ l }} = input[row + local + {{ l * workgroup }}u];
        }
        sum += x{{ l }};
        {% endfor %}
        let mean = workgroup_sum(local, subgroup, total(sum)) / f32(4u * WIDTH);
        var squares = vec4<f32>();
        {% for l in range(loads) %}
        {% set guarded = (l + 1) * workgroup > spans * 8 %}
        {% if guarded %}
        if (local + {{ l * workgroup }}u < WIDTH)
        {% endif %}
        {
            x{{ l }} -= mean;
            squares += x{{ l }} * x{{ l }};
        }
        {% endfor %}
        let variance = workgroup_sum(local, subgroup, total(squares)) / f32(4u * WIDTH);
        let scale = 1.0 / sqrt(variance + norm.epsilon);
        {% for l in range(loads) %}
        {% set guarded = (l + 1) * workgroup > spans * 8 %}
        {% if guarded %}
        if (local + {{ l * workgroup }}u < WIDTH)
        {% endif %}
        {
            let i = local + {{ l * workgroup }}u;
            let now = x{{ l }} * scale * vectors[norm.weight + i] + vectors[norm.bias + i];
            {% if shift %}
            row_input[i + i / 16u] = now + (shift[i] - now) * vectors[job.mix + i];
            if (index == 0u) {
                next_shift[i] = now;
            }
            {% else %}
            row_input[i + i / 16u] = now;
            {% endif %}
        }
        {% endfor %}
        workgroupBarrier();
    }
    {% endif %}

    {% set suffixes = [""] if encodings | length == 1 else range(encodings | length) %}
    {% for e in suffixes %}
    {% if encodings | length > 1 %}
    {{ "if" if loop.first else "} else if" }} (job.encoding == {{ e }}u) {
    {% endif %}
    // A loop in few instructions: one that is unrolled waits for its instructions longer than for its weights.
    {% for r in range(rows) %}
    {% for d in range(depth) %}
    var packed{{ r }}_{{ d }} = {{ fetch(e, r, "lane + " ~ d * lanes ~ "u") }};
    {% endfor %}
    {% endfor %}
    for (var span = lane; span < SPANS; span += LANES) {
        {% for r in range(rows) %}
        let weights{{ r }} = packed{{ r }}_0;
        {% for d in range(1, depth) %}
        packed{{ r }}_{{ d - 1 }} = packed{{ r }}_{{ d }};
        {% endfor %}
        packed{{ r }}_{{ depth - 1 }} = {{ fetch(e, r, "span + " ~ depth * lanes ~ "u") }};
        {% endfor %}
        {% for half in range(2) %}
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
        {% endfor %}
    }
    {% endfor %}
    {% if encodings | length > 1 %}
    }
    {% endif %}

    {% if subgroup %}
    {% for mask in [1, 2, 4, 8, 16] if mask < lanes %}
    {% for r in range(rows) %}
    sum{{ r }} += subgroupShuffleXor(sum{{ r }}, {{ mask }}u);
    {% endfor %}
    {% endfor %}
    {% for r in range(rows) %}
    if (lane == {{ r }}u && first_row + {{ r }}u < job.rows) {
        finish(job, 0u, first_row + {{ r }}u, sum{{ r }});
    }
    {% endfor %}
    {% else %}
    {% for r in range(rows) %}
    sums[(group * ROWS + {{ r }}u) * (LANES + 1u) + lane] = sum{{ r }};
    {% endfor %}
    workgroupBarrier();
    // One invocation adds up the lanes of one row.
    if (local < GROUPS * ROWS) {
        var product = 0.0;
        for (var i = 0u; i < LANES; i++) {
            product += sums[local * (LANES + 1u) + i];
        }
        let row = (index - job.first_workgroup) * GROUPS * ROWS + local;
        if (row < job.rows) {
            finish(job, 0u, row, product);
        }
    }
    {% endif %}
}
