// Time mixing of one token between its first products and its last one, a workgroup a head: the second halves of the
// low-rank pairs, the keys, the recurrence, the group norm, the bonus, the gate. Twins: twins::decay, twins::iclr,
// twins::value_residual, twins::removal_key, twins::scale_key, twins::wkv7, twins::group_norm, twins::bonus, twins::gate.
// {{ lanes }} invocations share a channel: a row of each matrix and of the state. All their weights are loaded before any is used, as
// waiting for memory is what this kernel does most.
struct LowRank {
    weights: u32, // first vec4
    stride: u32,  // vec4s of an encoded row
    hidden: u32,  // first vec4 of its hidden vector in mixed
    padding: u32,
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
const LANES = {{ lanes }}u;
const GROUP_NORM_EPSILON = 64e-5;
const LEAST_NORM = 1e-12;

{% for name in ["receptance", "decay", "key", "removal", "replacement"] %}
var<workgroup> {{ name }}: array<f32, 64>;
{% endfor %}
// What the sums over the head are made of; one for each of the sums, so that none waits for another to be read.
var<workgroup> head_parts: array<vec2<f32>, {{ 3 * 64 }}>;
{% if not subgroup %}
var<workgroup> lane_parts: array<vec4<f32>, {{ 64 * lanes }}>;
var<workgroup> row_parts: array<f32, {{ 2 * 64 * lanes }}>;
{% endif %}

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

// The sum over the invocations of a channel.
fn product_sum(local: u32, part: vec4<f32>) -> vec4<f32> {
    var sum = part;
    {% if subgroup %}
    {% for mask in [1, 2, 4, 8] if mask < lanes %}
    sum += subgroupShuffleXor(sum, {{ mask }}u);
    {% endfor %}
    {% else %}
    lane_parts[local] = part;
    workgroupBarrier();
    let first = local - local % LANES;
    sum = lane_parts[first];
    for (var i = 1u; i < LANES; i++) {
        sum += lane_parts[first + i];
    }
    {% endif %}
    return sum;
}

// The same of one number. `which` is 0 for the first such sum, 1 for the next.
fn row_sum(local: u32, which: u32, part: f32) -> f32 {
    var sum = part;
    {% if subgroup %}
    {% for mask in [1, 2, 4, 8] if mask < lanes %}
    sum += subgroupShuffleXor(sum, {{ mask }}u);
    {% endfor %}
    {% else %}
    row_parts[{{ 64 * lanes }}u * which + local] = part;
    workgroupBarrier();
    let first = {{ 64 * lanes }}u * which + local - local % LANES;
    sum = row_parts[first];
    for (var i = 1u; i < LANES; i++) {
        sum += row_parts[first + i];
    }
    {% endif %}
    return sum;
}

// The sum over the channels of a value that the invocations of a channel share. `which` as above.
fn head_sum(local: u32, subgroup: vec2<u32>, which: u32, value: vec2<f32>) -> vec2<f32> {
    var sum = vec2<f32>();
    {% if subgroup %}
    let own = subgroupAdd(select(vec2<f32>(), value, local % LANES == 0u));
    if (subgroup.y == 0u) {
        head_parts[64u * which + local / subgroup.x] = own;
    }
    workgroupBarrier();
    for (var i = subgroup.y; i < {{ 64 * lanes }}u / subgroup.x; i += subgroup.x) {
        sum += head_parts[64u * which + i];
    }
    return subgroupAdd(sum);
    {% else %}
    if (local % LANES == 0u) {
        head_parts[64u * which + local / LANES] = value;
    }
    workgroupBarrier();
    if (local < 8u) {
        for (var i = 0u; i < 8u; i++) {
            sum += head_parts[64u * which + 8u * local + i];
        }
    }
    workgroupBarrier(); // all have read what is now replaced
    if (local < 8u) {
        head_parts[64u * which + local] = sum;
    }
    workgroupBarrier();
    sum = head_parts[64u * which];
    for (var i = 1u; i < 8u; i++) {
        sum += head_parts[64u * which + i];
    }
    return sum;
    {% endif %}
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

{% for e in range(encodings | length) %}
// The part of a product with the hidden vector at `hidden` that a span contributes.
fn span_product{{ e }}(packed: Packed{{ e }}, span: u32, hidden: u32) -> f32 {
    var sum = 0.0;
    {% for half in range(2) %}
    {
        let w = decode{{ e }}(packed, span, {{ half }}u);
        let column = hidden + ((first_column{{ e }}(span) + {{ half }}u * HALF_STRIDE{{ e }}) >> 2u);
        {% for c in range(4) %}
        let x{{ c }} = mixed[column + {{ c }}u];
        {% endfor %}
        let dot = fma(w.quants[3], x3, fma(w.quants[2], x2, fma(w.quants[1], x1, w.quants[0] * x0)));
        sum += fma(w.scale, total(dot), w.offset * total((x0 + x1) + (x2 + x3)));
    }
    {% endfor %}
    return sum;
}
{% endfor %}

@compute @workgroup_size({{ 64 * lanes }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    {% if subgroup %}
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) subgroup_invocation: u32,
    {% endif %}
) {
    let subgroup = vec2<u32>({% if subgroup %}subgroup_size, subgroup_invocation{% else %}1u, 0u{% endif %});
    let row = local / LANES;
    let lane = local % LANES;
    let channel = workgroup.x * 64u + row;
    let state_row = channel * 16u + lane;
    {% for p in range(4) %}
    {% for i in range((spans[p] + lanes - 1) // lanes) %}
    let packed{{ p }}_{{ i }} = fetch{{ pairs[p] }}(params.pairs[{{ p }}].weights + channel * params.pairs[{{ p }}].stride, {{ spans[p] }}u, min(lane + {{ i * lanes }}u, {{ spans[p] - 1 }}u));
    {% endfor %}
    {% endfor %}
    {% for c in range(parts) %}
    var s{{ c }} = state[state_row + {{ c * lanes }}u];
    {% endfor %}
    let r = mixed_at(RECEPTANCE, channel);
    let k = mixed_at(KEY, channel);
    var v = mixed_at({{ "FIRST_VALUE" if first_layer else "VALUE" }}, channel);

    var product_parts = vec4<f32>();
    {% for p in range(4) %}
    {% for i in range((spans[p] + lanes - 1) // lanes) %}
    {% if (i + 1) * lanes > spans[p] %}
    if (lane + {{ i * lanes }}u < {{ spans[p] }}u)
    {% endif %}
    {
        product_parts[{{ p }}] += span_product{{ pairs[p] }}(packed{{ p }}_{{ i }}, lane + {{ i * lanes }}u, params.pairs[{{ p }}].hidden);
    }
    {% endfor %}
    {% endfor %}
    let products = product_sum(local, product_parts);
    let biases = vec4<f32>(
        vector_at(params.decay_bias, channel),
        vector_at(params.iclr_bias, channel),
        vector_at(params.value_bias, channel),
        0.0,
    );
    let shares = sigmoid(biases + products);
    let w = exp(DECAY_SCALE * shares.x);
    let a = shares.y;
    {% if not first_layer %}
    v += (mixed_at(FIRST_VALUE, channel) - v) * shares.z;
    {% endif %}
    let gate = products.w;

    let raw = k * vector_at(params.k_k, channel);
    let scaled_key = k * (1.0 + (a - 1.0) * vector_at(params.k_a, channel));
    let sums = head_sum(local, subgroup, 0u, vec2<f32>(raw * raw, r * scaled_key * vector_at(params.r_k, channel)));
    let kk = raw / max(sqrt(sums.x), LEAST_NORM);
    if (lane == 0u) {
        receptance[row] = r;
        decay[row] = w;
        key[row] = scaled_key;
        removal[row] = kk;
        replacement[row] = kk * a;
    }
    workgroupBarrier();

    var removed_part = vec4<f32>();
    {% for c in range(parts) %}
    let column{{ c }} = 4u * lane + {{ 4 * c * lanes }}u;
    removed_part += s{{ c }} * removal_at(column{{ c }});
    {% endfor %}
    let removed = row_sum(local, 0u, total(removed_part));
    var y_part = vec4<f32>();
    {% for c in range(parts) %}
    s{{ c }} = fma(vec4<f32>(-removed), replacement_at(column{{ c }}), fma(vec4<f32>(v), key_at(column{{ c }}), s{{ c }} * decay_at(column{{ c }})));
    state[state_row + {{ c * lanes }}u] = s{{ c }};
    y_part += s{{ c }} * receptance_at(column{{ c }});
    {% endfor %}
    let y = row_sum(local, 1u, total(y_part));

    let centred = y - head_sum(local, subgroup, 1u, vec2<f32>(y, 0.0)).x / 64.0;
    let variance = head_sum(local, subgroup, 2u, vec2<f32>(centred * centred, 0.0)).x / 64.0;
    let normed = centred / sqrt(variance + GROUP_NORM_EPSILON) * vector_at(params.norm_weight, channel) + vector_at(params.norm_bias, channel);
    if (lane == 0u) {
        out[channel] = (normed + sums.y * v) * gate;
    }
}
