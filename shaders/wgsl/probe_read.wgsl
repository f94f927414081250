// Reads a buffer once, as fast as the device can, and keeps no more of it than is needed for it to be read: an invocation
// whose words XOR to what is wanted says so.
struct Params {
    wanted: u32,
}

@group(0) @binding(0) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

override WORKGROUP = 256u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = workgroup.x * WORKGROUP * {{ loads }}u + local;
    if (first + WORKGROUP * {{ loads - 1 }}u >= arrayLength(&words)) {
        return;
    }
    // All are asked for before the first is looked at.
    {% for load in range(loads) %}
    let word{{ load }} = words[first + {{ load }}u * WORKGROUP];
    {% endfor %}
    let all = word0{% for load in range(1, loads) %} ^ word{{ load }}{% endfor %};
    if ((all.x ^ all.y ^ all.z ^ all.w) == params.wanted) {
        out[0] = workgroup.x * WORKGROUP + local;
    }
}
