{% if output == "f16" %}
enable f16;
{% endif %}
// Adds up products that were computed in {{ parts }} parts, each over some of the columns, and does what their jobs ask for. In a job
// `input` and `input_stride` say where the sums lie in a part, in numbers.
{% include "jobs.wgsl" %}
struct Params {
    part_stride: u32, // numbers from part to part
}

@group(0) @binding(3) var<uniform> params: Params;

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
        finish_four(job, token, row, sum);
        return;
    }
    for (var i = 0u; row + i < job.rows; i++) {
        var sum = 0.0;
        for (var part = 0u; part < {{ parts }}u; part++) {
            sum += input[first + part * params.part_stride + i];
        }
        finish(job, token, row + i, sum);
    }
}
