{% if "f16" in [output, beside] %}
enable f16;
{% endif %}
// Adds up products that were computed in {{ parts }} parts, each over some of the columns, and does what their jobs ask for. In a job
// `input` and `input_stride` say where the sums lie in a part, in numbers.
{% if beside %}
// The jobs from `first_beside` on have an output of their own, and ask for nothing that builds on what it holds.
{% endif %}
{% include "jobs.wgsl" %}
struct Params {
    part_stride: u32, // numbers from part to part
    first_beside: u32,
}

@group(0) @binding(3) var<uniform> params: Params;
{% if beside %}
@group(0) @binding(6) var<storage, read_write> out_beside: array<{{ beside }}>;
{% endif %}

override WORKGROUP = 64u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = jobs[workgroup.z];
    let row = 4u * (workgroup.x * WORKGROUP + local);
    let token = workgroup.y;
    if (row >= job.rows || token >= rows.count) {
        return;
    }
    let first = job.input + token * job.input_stride + row;
    if (row + 4u <= job.rows) {
        // All parts are asked for before the first is added.
        {% for part in range(parts) %}
        let at{{ part }} = first + {{ part }}u * params.part_stride;
        let part{{ part }} = vec4<f32>(input[at{{ part }}], input[at{{ part }} + 1u], input[at{{ part }} + 2u], input[at{{ part }} + 3u]);
        {% endfor %}
        let sum = part0{% for part in range(1, parts) %} + part{{ part }}{% endfor %};
        {% if beside %}
        if (workgroup.z >= params.first_beside) {
            finish_beside(job, token, row, sum, 4u);
            return;
        }
        {% endif %}
        finish_four(job, token, row, sum);
        return;
    }
    for (var i = 0u; row + i < job.rows; i++) {
        var sum = 0.0;
        for (var part = 0u; part < {{ parts }}u; part++) {
            sum += input[first + part * params.part_stride + i];
        }
        {% if beside %}
        if (workgroup.z >= params.first_beside) {
            finish_beside(job, token, row + i, vec4<f32>(sum), 1u);
            continue;
        }
        {% endif %}
        finish(job, token, row + i, sum);
    }
}
{% if beside %}

// Turns the products of up to four rows into results and stores them.
fn finish_beside(job: Job, token: u32, row: u32, product: vec4<f32>, count: u32) {
    let value = results(job, token, row, product, vec4<f32>());
    for (var c = 0u; c < count; c++) {
        out_beside[job.output + token * job.output_stride + row + c] = {{ beside }}(value[c]);
    }
}
{% endif %}
