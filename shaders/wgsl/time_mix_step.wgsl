// Time mixing of one token between its first products and its last one, a workgroup a head: the second halves of the
// low-rank pairs, the keys, the recurrence, the group norm, the bonus, the gate. Twins: twins::decay, twins::iclr,
// twins::value_residual, twins::removal_key, twins::scale_key, twins::wkv7, twins::group_norm, twins::bonus, twins::gate.
// Four invocations share a channel: a row of each matrix and of the state.
struct LowRank {
    weights: u32, // first vec4
    stride: u32,  // vec4s of an encoded row
    spans: u32,
    hidden: u32,  // first vec4 of its hidden vector in mixed
}

struct Params {
    pairs: array<LowRank, 4>, // decay, in-context learning rate, value residual, gate
    slot_stride: u32,         // vec4s from slot to slot of mixed
    // first elements in vectors
    decay_bias: u32,
    iclr_bias: u32,
    value_bias: u32,
    k_k: u32,
    k_a: u32,
    r_k: u32,
    norm_weight: u32,
    norm_bias: u32,
}

// Slots of mixed: [slots, width]
{% for slot in slots %}
const {{ slot }} = {{ loop.index0 }}u;
{% endfor %}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>; // [heads, 64 values, 64 keys]
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [width]

{% include "half.wgsl" %}
{% include "encodings/common.wgsl" %}
{% include "encodings/k_scales.wgsl" %}
{% for encoding in encodings %}
{% with suffix = loop.index0 %}
{% include encoding %}
{% endwith %}
{% endfor %}
{% include "activations.wgsl" %}
const LANES = 4u;
const GROUP_NORM_EPSILON = 64e-5;
const LEAST_NORM = 1e-12;

{% for name in ["receptance", "decay", "key", "removal", "replacement"] %}
var<workgroup> {{ name }}: array<f32, 64>;
{% endfor %}
// What the sums over the head are made of; one for each of the sums, so that none waits for another to be read.
var<workgroup> head_parts: array<vec2<f32>, {{ 3 * 64 }}>;
{% if not subgroup %}
var<workgroup> lane_parts: array<vec4<f32>, {{ 3 * 256 }}>;
{% endif %}

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

// The sum over the invocations of a channel. `which` is 0 for the first such sum, 1 for the next.
fn lane_sum(local: u32, which: u32, part: vec4<f32>) -> vec4<f32> {
    {% if subgroup %}
    let pair = part + subgroupShuffleXor(part, 1u);
    return pair + subgroupShuffleXor(pair, 2u);
    {% else %}
    lane_parts[256u * which + local] = part;
    workgroupBarrier();
    let first = 256u * which + (local & ~3u);
    return (lane_parts[first] + lane_parts[first + 1u]) + (lane_parts[first + 2u] + lane_parts[first + 3u]);
    {% endif %}
}

// The sum over the channels of a value that the invocations of a channel share. `which` as above.
fn head_sum(local: u32, which: u32, value: vec2<f32>) -> vec2<f32> {
    if (local % LANES == 0u) {
        head_parts[64u * which + local / LANES] = value;
    }
    workgroupBarrier();
    var sum = vec2<f32>();
    for (var i = 64u * which; i < 64u * which + 64u; i++) {
        sum += head_parts[i];
    }
    return sum;
}

fn vector_at(first: u32, channel: u32) -> f32 {
    let at = first + channel;
    return vectors[at >> 2u][at & 3u];
}

fn mixed_at(slot: u32, channel: u32) -> f32 {
    return mixed[slot * params.slot_stride + (channel >> 2u)][channel & 3u];
}

{% for name in ["receptance", "decay", "key", "removal", "replacement"] %}
fn {{ name }}_at(first: u32) -> vec4<f32> {
    return vec4<f32>({{ name }}[first], {{ name }}[first + 1u], {{ name }}[first + 2u], {{ name }}[first + 3u]);
}
{% endfor %}

{% for pair in pairs %}
// The invocation's part of a channel's product with the hidden vector.
fn product{{ loop.index0 }}(channel: u32, lane: u32) -> f32 {
    let pair = params.pairs[{{ loop.index0 }}];
    let row = pair.weights + channel * pair.stride;
    var sum = 0.0;
    for (var span = lane; span < pair.spans; span += LANES) {
        let packed = fetch{{ pair }}(row, pair.spans, span);
        {% for half in range(2) %}
        {
            let w = decode{{ pair }}(packed, span, {{ half }}u);
            let column = pair.hidden + ((first_column{{ pair }}(span) + {{ half }}u * HALF_STRIDE{{ pair }}) >> 2u);
            {% for c in range(4) %}
            let x{{ c }} = mixed[column + {{ c }}u];
            {% endfor %}
            let dot = fma(w.quants[3], x3, fma(w.quants[2], x2, fma(w.quants[1], x1, w.quants[0] * x0)));
            sum += fma(w.scale, total(dot), w.offset * total((x0 + x1) + (x2 + x3)));
        }
        {% endfor %}
    }
    return sum;
}
{% endfor %}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = local / LANES;
    let lane = local % LANES;
    let channel = workgroup.x * 64u + row;
    let state_row = channel * 16u + lane;
    {% for c in range(4) %}
    var s{{ c }} = state[state_row + {{ 4 * c }}u];
    {% endfor %}
    let r = mixed_at(RECEPTANCE, channel);
    let k = mixed_at(KEY, channel);
    var v = mixed_at({{ "FIRST_VALUE" if first_layer else "VALUE" }}, channel);

    let products = lane_sum(local, 0u, vec4<f32>(product0(channel, lane), product1(channel, lane), {{ "0.0" if first_layer else "product2(channel, lane)" }}, product3(channel, lane)));
    let w = exp(DECAY_SCALE * sigmoid(vector_at(params.decay_bias, channel) + products.x));
    let a = sigmoid(vector_at(params.iclr_bias, channel) + products.y);
    {% if not first_layer %}
    v += (mixed_at(FIRST_VALUE, channel) - v) * sigmoid(vector_at(params.value_bias, channel) + products.z);
    {% endif %}
    let gate = products.w;

    let raw = k * vector_at(params.k_k, channel);
    let scaled_key = k * (1.0 + (a - 1.0) * vector_at(params.k_a, channel));
    let sums = head_sum(local, 0u, vec2<f32>(raw * raw, r * scaled_key * vector_at(params.r_k, channel)));
    let kk = raw / max(sqrt(sums.x), LEAST_NORM);
    if (lane == 0u) {
        receptance[row] = r;
        decay[row] = w;
        key[row] = scaled_key;
        removal[row] = kk;
        replacement[row] = kk * a;
    }
    workgroupBarrier();

    {% for c in range(4) %}
    let column{{ c }} = 4u * lane + {{ 16 * c }}u;
    {% endfor %}
    let removed_part = (s0 * removal_at(column0) + s1 * removal_at(column1)) + (s2 * removal_at(column2) + s3 * removal_at(column3));
    let removed = lane_sum(local, 1u, vec4<f32>(total(removed_part), 0.0, 0.0, 0.0)).x;
    {% for c in range(4) %}
    s{{ c }} = fma(vec4<f32>(-removed), replacement_at(column{{ c }}), fma(vec4<f32>(v), key_at(column{{ c }}), s{{ c }} * decay_at(column{{ c }})));
    state[state_row + {{ 4 * c }}u] = s{{ c }};
    {% endfor %}
    let y_part = (s0 * receptance_at(column0) + s1 * receptance_at(column1)) + (s2 * receptance_at(column2) + s3 * receptance_at(column3));
    let y = lane_sum(local, 2u, vec4<f32>(total(y_part), 0.0, 0.0, 0.0)).x;

    let centred = y - head_sum(local, 1u, vec2<f32>(y, 0.0)).x / 64.0;
    let variance = head_sum(local, 2u, vec2<f32>(centred * centred, 0.0)).x / 64.0;
    let normed = centred / sqrt(variance + GROUP_NORM_EPSILON) * vector_at(params.norm_weight, channel) + vector_at(params.norm_bias, channel);
    if (lane == 0u) {
        out[channel] = (normed + sums.y * v) * gate;
    }
}
