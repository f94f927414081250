// Matrix times at most {{ columns }} tokens, the weights decoded on the way. Twin: twins::matmul.
// LANES invocations share {{ rows }} rows of the matrix: their weights are loaded together and meet each loaded input.
{% include "jobs.wgsl" %}
override WORKGROUP = 128u;
override LANES = 32u;

const ROWS = {{ rows }}u;
const COLUMNS = {{ columns }}u;
const OUTPUTS = {{ rows * columns }}u;

// [WORKGROUP / LANES groups, OUTPUTS, LANES], a group's lanes one more apart than they are so that banks differ.
var<workgroup> partial: array<f32, (WORKGROUP / LANES) * OUTPUTS * (LANES + 1u)>;

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let job = jobs[workgroup.z];
    let groups = WORKGROUP / LANES;
    let workgroup_row = (workgroup.y * workgroups.x + workgroup.x) * groups * ROWS;
    if (workgroup_row >= job.rows) {
        return;
    }
    let lane = local % LANES;
    let group = local / LANES;
    // Rows and tokens that there are not repeat the last one; their results are dropped.
    {% for r in range(rows) %}
    let row{{ r }} = job.weights + min(workgroup_row + group * ROWS + {{ r }}u, job.rows - 1u) * job.weights_stride;
    {% for c in range(columns) %}
    var sum{{ r }}_{{ c }} = 0.0;
    {% endfor %}
    {% endfor %}
    {% for c in range(columns) %}
    let token{{ c }} = min({{ c }}u, rows.count - 1u);
    {% endfor %}

    for (var span = lane; span < job.spans; span += LANES) {
        {% for r in range(rows) %}
        let packed{{ r }} = fetch(row{{ r }}, job.spans, span);
        {% endfor %}
        {% for half in range(2) %}
        {
            let column = (first_column(span) + {{ half }}u * HALF_STRIDE) >> 2u;
            {% for r in range(rows) %}
            let w{{ r }} = decode(packed{{ r }}, span, {{ half }}u);
            {% endfor %}
            {% for c in range(columns) %}
            {
                {% for i in range(4) %}
                let x{{ i }} = input[job.input + token{{ c }} * job.input_stride + column + {{ i }}u];
                {% endfor %}
                let inputs = total((x0 + x1) + (x2 + x3));
                {% for r in range(rows) %}
                let dot{{ r }} = fma(w{{ r }}.quants[3], x3, fma(w{{ r }}.quants[2], x2, fma(w{{ r }}.quants[1], x1, w{{ r }}.quants[0] * x0)));
                sum{{ r }}_{{ c }} += w{{ r }}.scale * total(dot{{ r }}) + w{{ r }}.offset * inputs;
                {% endfor %}
            }
            {% endfor %}
        }
        {% endfor %}
    }

    {% for r in range(rows) %}
    {% for c in range(columns) %}
    partial[(group * OUTPUTS + {{ r * columns + c }}u) * (LANES + 1u) + lane] = sum{{ r }}_{{ c }};
    {% endfor %}
    {% endfor %}
    workgroupBarrier();

    // One invocation adds up the lanes of one output.
    for (var output = local; output < groups * OUTPUTS; output += WORKGROUP) {
        let row = workgroup_row + output / COLUMNS;
        let token = output % COLUMNS;
        var product = 0.0;
        for (var i = 0u; i < LANES; i++) {
            product += partial[output * (LANES + 1u) + i];
        }
        if (row < job.rows && token < rows.count) {
            finish(job, token, row, product);
        }
    }
}
