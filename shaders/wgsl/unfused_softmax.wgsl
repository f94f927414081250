{% if output == "f16" %}
enable f16;
{% endif %}
// Softmax of rows of finite numbers: exp(x - max) / sum. Twin: twins::softmax.
{% include "rows.wgsl" %}
struct Params {
    width: u32, // vec4s of a row
}

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // [rows, width]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<{{ output }}>>; // [rows, width]

override WORKGROUP = 256u;

{% set summed = "f32" %}
{% set subgroup = false %}
{% include "workgroup_sums.wgsl" %}

// The largest of the workgroup's values.
fn workgroup_max(local: u32, value: f32) -> f32 {
    workgroupBarrier(); // the last sum has been read
    partial[local] = value;
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if (local < width) {
            partial[local] = max(partial[local], partial[local + width]);
        }
    }
    workgroupBarrier();
    return partial[0];
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, lane: Lane) {
    let row = workgroup.x;
    if (row >= rows.count) {
        return;
    }
    let first = row * params.width;
    // An invocation without a column of its own repeats the first one's.
    var most = x[first];
    for (var i = lane.local; i < params.width; i += WORKGROUP) {
        most = max(most, x[first + i]);
    }
    let largest = workgroup_max(lane.local, max(max(most.x, most.y), max(most.z, most.w)));
    var sum = 0.0;
    for (var i = lane.local; i < params.width; i += WORKGROUP) {
        sum += total(exp(x[first + i] - largest));
    }
    let whole = workgroup_sum(lane, 0u, sum);
    for (var i = lane.local; i < params.width; i += WORKGROUP) {
        out[first + i] = vec4<{{ output }}>(exp(x[first + i] - largest) / whole);
    }
}
