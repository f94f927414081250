// What the kernels around the recurrence share. A head has 64 channels, 16 vec4s.
struct TimeMix {
    slot_stride: u32, // vec4s from slot to slot of mixed
    width: u32,       // vec4s of a row
    value_slot: u32,  // VALUE, in the first layer FIRST_VALUE
    k_k: u32,         // first vec4s in vectors
    k_a: u32,
    r_k: u32,
    norm_weight: u32,
    norm_bias: u32,
}

// Slots of mixed: [slots, tokens, width]
{% for slot in slots %}
const {{ slot }} = {{ loop.index0 }}u;
{% endfor %}

@group(0) @binding(1) var<uniform> params: TimeMix;

fn mixed_at(slot: u32, token: u32, channel: u32) -> u32 {
    return slot * params.slot_stride + token * params.width + channel;
}
