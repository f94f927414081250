enable f16;
enable wgpu_cooperative_matrix;
// Multiplies and adds cooperative matrices, as fast as the device can: each subgroup holds {{ rows }} x {{ tokens }} matrices of sums, over
// operands that it loads once. What all elements of its matrices of sums come to is stored, so that nothing is in vain.
const SIZE = {{ size }}u; // of the square matrices
const SUBGROUPS = {{ subgroups }}u;

struct Params {
    iterations: u32,
    value: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>; // [workgroups, subgroups]

var<workgroup> operands: array<f16, {{ (rows + tokens) * size * size }}>;
var<workgroup> sums: array<f32, {{ subgroups * size * size }}>;

@compute @workgroup_size({{ subgroups * subgroup }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    // The first operand holds the value, the second twice the value, and so on: no two products are the same.
    for (var i = local; i < {{ rows + tokens }}u * SIZE * SIZE; i += {{ subgroups * subgroup }}u) {
        operands[i] = f16(params.value * f32(1u + i / (SIZE * SIZE)));
    }
    workgroupBarrier();
    let start = workgroup.y; // which is 0: naga translates loads for Metal from places that it does not know
    {% for r in range(rows) %}
    let a{{ r }} = coopLoadT<coop_mat{{ size }}x{{ size }}<f16, A>>(&operands[start + {{ r * size * size }}u], SIZE);
    {% endfor %}
    {% for t in range(tokens) %}
    let b{{ t }} = coopLoad<coop_mat{{ size }}x{{ size }}<f16, B>>(&operands[start + {{ (rows + t) * size * size }}u], SIZE);
    {% endfor %}
    {% for r in range(rows) %}
    {% for t in range(tokens) %}
    var sum{{ r }}_{{ t }}: coop_mat{{ size }}x{{ size }}<f32, C>;
    {% endfor %}
    {% endfor %}
    for (var i = 0u; i < params.iterations; i++) {
        {% for r in range(rows) %}
        {% for t in range(tokens) %}
        sum{{ r }}_{{ t }} = coopMultiplyAdd(a{{ r }}, b{{ t }}, sum{{ r }}_{{ t }});
        {% endfor %}
        {% endfor %}
    }
    let subgroup = local / {{ subgroup }}u;
    var total = 0.0;
    {% for r in range(rows) %}
    {% for t in range(tokens) %}
    coopStore(sum{{ r }}_{{ t }}, &sums[subgroup * SIZE * SIZE], SIZE);
    workgroupBarrier();
    for (var i = 0u; i < SIZE * SIZE; i++) {
        total += sums[subgroup * SIZE * SIZE + i];
    }
    workgroupBarrier();
    {% endfor %}
    {% endfor %}
    if (local % {{ subgroup }}u == 0u) {
        out[workgroup.x * SUBGROUPS + subgroup] = total;
    }
}
