// Multiplies and adds 32-bit floats, as fast as the device can: {{ chains }} chains of vec4s an invocation, none of which waits for
// another. An invocation whose numbers add up to what is wanted says so.
struct Params {
    iterations: u32,
    factor: f32,
    addend: f32,
    wanted: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

override WORKGROUP = 256u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) local: u32) {
    let factor = vec4(params.factor);
    let addend = vec4(params.addend);
    {% for chain in range(chains) %}
    var chain{{ chain }} = vec4<f32>(f32(local + {{ chain }}u));
    {% endfor %}
    for (var i = 0u; i < params.iterations; i++) {
        {% for step in range(steps) %}
        {% for chain in range(chains) %}
        chain{{ chain }} = fma(chain{{ chain }}, factor, addend);
        {% endfor %}
        {% endfor %}
    }
    let sum = chain0{% for chain in range(1, chains) %} + chain{{ chain }}{% endfor %};
    if (sum.x + sum.y + sum.z + sum.w == params.wanted) {
        out[0] = params.wanted;
    }
}
