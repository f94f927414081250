// Time mixing of one token between its first products and its last one, a workgroup a head: the second halves of the
// low-rank pairs, the keys, the recurrence, the group norm, the bonus, the gate. Twins: twins::decay, twins::iclr,
// twins::value_residual, twins::removal_key, twins::scale_key, twins::wkv7, twins::group_norm, twins::bonus, twins::gate{% if rounds_output %}, twins::quantise{% endif %}.
// {{ lanes }} invocations share a channel: a row of each matrix and of the state. All that they read is asked for before any of it
// is used, as waiting for memory is what this kernel does most.
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
@group(0) @binding(5) var<storage, read_write> out: array<{{ "u32" if rounds_output else "f32" }}>; // [width]{{ ", rounded" if rounds_output }}

{% include "half.wgsl" %}
{% include "encodings/common.wgsl" %}
{% include "encodings/k_scales.wgsl" %}
{% for encoding in encodings %}
{% with suffix = loop.index0 %}
{% include encoding %}
{% endwith %}
{% endfor %}
{% include "activations.wgsl" %}
{% if rounds_output %}
{% include "rounding.wgsl" %}
{% include "store_rounded.wgsl" %}
{% endif %}
const LANES = {{ lanes }}u;
const GROUP_NORM_EPSILON = 64e-5;
const LEAST_NORM = 1e-12;

// What the channels of the head tell each other: as one array each.
{% for name in exchanged %}
var<workgroup> {{ name }}: array<f32, 64>;
{% endfor %}
// The hidden vectors of all pairs, with a gap after every span, which spreads the lanes' accesses over the banks.
var<workgroup> hidden: array<vec4<f32>, {{ all_spans * 9 }}>;
{% if not subgroup %}
var<workgroup> lane_parts: array<vec4<f32>, {{ 2 * 64 * lanes }}>;
{% endif %}

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

// The sum over the invocations of a channel; `which` is 0 and 1 in turn, so that no sum waits for the last to be read.
fn lane_sum(local: u32, which: u32, part: vec4<f32>) -> vec4<f32> {
    var sum = part;
    {% if subgroup %}
    {% for mask in [1, 2, 4, 8] if mask < lanes %}
    sum += subgroupShuffleXor(sum, {{ mask }}u);
    {% endfor %}
    {% else %}
    lane_parts[{{ 64 * lanes }}u * which + local] = part;
    workgroupBarrier();
    let first = {{ 64 * lanes }}u * which + local - local % LANES;
    sum = lane_parts[first];
    for (var i = 1u; i < LANES; i++) {
        sum += lane_parts[first + i];
    }
    {% endif %}
    return sum;
}

fn vector_at(first: u32, channel: u32) -> f32 {
    let at = first + channel;
    return vectors[at >> 2u][at & 3u];
}

fn mixed_at(slot: u32, channel: u32) -> f32 {
    return mixed[slot * params.slot_stride + (channel >> 2u)][channel & 3u];
}

{% for name in exchanged %}
fn {{ name }}_at(first: u32) -> vec4<f32> {
    return vec4<f32>({{ name }}[first], {{ name }}[first + 1u], {{ name }}[first + 2u], {{ name }}[first + 3u]);
}
{% endfor %}

{% for group in groups %}
{% set e = group.encoding %}
// The part of a product that a span contributes whose pair's hidden vector begins at column `first` of all.
fn span_product{{ e }}(packed: Packed{{ e }}, span: u32, first: u32) -> f32 {
    var sum = 0.0;
    {% for half in range(2) %}
    {
        let w = decode{{ e }}(packed, span, {{ half }}u);
        let column = (first + first_column{{ e }}(span) + {{ half }}u * HALF_STRIDE{{ e }}) >> 2u;
        let at = column + (column >> 3u); // sixteen columns cross no gap
        {% for c in range(4) %}
        let x{{ c }} = hidden[at + {{ c }}u];
        {% endfor %}
        let dot = fma(w.quants[3], x3, fma(w.quants[2], x2, fma(w.quants[1], x1, w.quants[0] * x0)));
        sum += fma(w.scale, total(dot), w.offset * total((x0 + x1) + (x2 + x3)));
    }
    {% endfor %}
    return sum;
}
{% endfor %}

@compute @workgroup_size({{ 64 * lanes }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = local / LANES;
    let lane = local % LANES;
    let channel = workgroup.x * 64u + row;
    let state_row = channel * 16u + lane;

    // Everything that is read is asked for here, before anything is waited for.
    {% for i in range((all_spans * 8 + 64 * lanes - 1) // (64 * lanes)) %}
    let hidden_at{{ i }} = min(local + {{ i * 64 * lanes }}u, {{ all_spans * 8 - 1 }}u);
    var from{{ i }} = params.pairs[{{ pairs[0].index }}].hidden + hidden_at{{ i }};
    {% for pair in pairs[1:] %}
    from{{ i }} = select(from{{ i }}, params.pairs[{{ pair.index }}].hidden + hidden_at{{ i }} - {{ pair.first_span * 8 }}u, hidden_at{{ i }} >= {{ pair.first_span * 8 }}u);
    {% endfor %}
    let hidden{{ i }} = mixed[from{{ i }}];
    {% endfor %}
    // A lane has every {{ lanes }}th of the spans of all pairs of an encoding.
    {% for group in groups %}
    {% set e = group.encoding %}
    {% for i in range(group.rounds) %}
    let turn{{ e }}_{{ i }} = min(lane + {{ i * lanes }}u, {{ group.spans - 1 }}u);
    {% for pair in group.pairs %}
    {% if loop.first %}
    var row{{ e }}_{{ i }} = params.pairs[{{ pair.index }}].weights + channel * params.pairs[{{ pair.index }}].stride;
    var spans{{ e }}_{{ i }} = {{ pair.spans }}u;
    var start{{ e }}_{{ i }} = {{ pair.start }}u;
    var first{{ e }}_{{ i }} = {{ pair.first_span * 32 }}u;
    var mask{{ e }}_{{ i }} = vec4<f32>({{ pair.mask }});
    {% else %}
    if (turn{{ e }}_{{ i }} >= {{ pair.start }}u) {
        row{{ e }}_{{ i }} = params.pairs[{{ pair.index }}].weights + channel * params.pairs[{{ pair.index }}].stride;
        spans{{ e }}_{{ i }} = {{ pair.spans }}u;
        start{{ e }}_{{ i }} = {{ pair.start }}u;
        first{{ e }}_{{ i }} = {{ pair.first_span * 32 }}u;
        mask{{ e }}_{{ i }} = vec4<f32>({{ pair.mask }});
    }
    {% endif %}
    {% endfor %}
    let packed{{ e }}_{{ i }} = fetch{{ e }}(row{{ e }}_{{ i }}, spans{{ e }}_{{ i }}, turn{{ e }}_{{ i }} - start{{ e }}_{{ i }});
    {% endfor %}
    {% endfor %}
    {% for c in range(parts) %}
    var s{{ c }} = state[state_row + {{ c * lanes }}u];
    {% endfor %}
    let r = mixed_at(RECEPTANCE, channel);
    let k = mixed_at(KEY, channel);
    {% if first_layer %}
    let v = mixed_at(FIRST_VALUE, channel);
    {% else %}
    let own_value = mixed_at(VALUE, channel);
    let first_value = mixed_at(FIRST_VALUE, channel);
    {% endif %}
    {% for vector in ["decay_bias", "iclr_bias", "value_bias", "k_k", "k_a", "r_k", "norm_weight", "norm_bias"] %}
    let {{ vector }} = vector_at(params.{{ vector }}, channel);
    {% endfor %}

    {% for i in range((all_spans * 8 + 64 * lanes - 1) // (64 * lanes)) %}
    hidden[hidden_at{{ i }} + hidden_at{{ i }} / 8u] = hidden{{ i }};
    {% endfor %}
    workgroupBarrier();
    var product_parts = vec4<f32>();
    {% for group in groups %}
    {% set e = group.encoding %}
    {% for i in range(group.rounds) %}
    {
        let product = span_product{{ e }}(packed{{ e }}_{{ i }}, turn{{ e }}_{{ i }} - start{{ e }}_{{ i }}, first{{ e }}_{{ i }});
        {% if (i + 1) * lanes > group.spans %}
        product_parts += select(0.0, product, lane + {{ i * lanes }}u < {{ group.spans }}u) * mask{{ e }}_{{ i }};
        {% else %}
        product_parts += product * mask{{ e }}_{{ i }};
        {% endif %}
    }
    {% endfor %}
    {% endfor %}
    let products = lane_sum(local, 0u, product_parts);
    let shares = sigmoid(vec4<f32>(decay_bias, iclr_bias, value_bias, 0.0) + products);
    let w = exp(DECAY_SCALE * shares.x);
    let a = shares.y;
    {% if not first_layer %}
    let v = own_value + (first_value - own_value) * shares.z;
    {% endif %}
    let gate = products.w;

    let raw = k * k_k; // the removal key before its norm
    let scaled_key = k * (1.0 + (a - 1.0) * k_a);
    if (lane == 0u) {
        receptance[row] = r;
        decay[row] = w;
        key[row] = scaled_key;
        removal[row] = raw;
        replacement[row] = raw * a;
        bonus[row] = r * scaled_key * r_k;
    }
    workgroupBarrier();

    // One sum over the lanes gives the square of the removal key's norm, the bonus, and what the state has at that key.
    var sum_parts = vec3<f32>();
    {% for c in range(parts) %}
    let column{{ c }} = 4u * lane + {{ 4 * c * lanes }}u;
    let removal{{ c }} = removal_at(column{{ c }});
    sum_parts += vec3<f32>(total(removal{{ c }} * removal{{ c }}), total(bonus_at(column{{ c }})), total(s{{ c }} * removal{{ c }}));
    {% endfor %}
    let sums = lane_sum(local, 1u, vec4<f32>(sum_parts, 0.0));
    let norm = max(sqrt(sums.x), LEAST_NORM);
    let removed = sums.z / norm / norm; // once for the key read with, once for the key written to
    var y_part = 0.0;
    {% for c in range(parts) %}
    s{{ c }} = fma(vec4<f32>(-removed), replacement_at(column{{ c }}), fma(vec4<f32>(v), key_at(column{{ c }}), s{{ c }} * decay_at(column{{ c }})));
    state[state_row + {{ c * lanes }}u] = s{{ c }};
    y_part += total(s{{ c }} * receptance_at(column{{ c }}));
    {% endfor %}
    let y = lane_sum(local, 0u, vec4<f32>(y_part)).x;

    if (lane == 0u) {
        readout[row] = y;
    }
    workgroupBarrier();
    var y_sum = 0.0;
    {% for c in range(parts) %}
    let y{{ c }} = readout_at(column{{ c }});
    y_sum += total(y{{ c }});
    {% endfor %}
    let mean = lane_sum(local, 1u, vec4<f32>(y_sum)).x / 64.0;
    var square_sum = 0.0;
    {% for c in range(parts) %}
    square_sum += total((y{{ c }} - mean) * (y{{ c }} - mean));
    {% endfor %}
    let variance = lane_sum(local, 0u, vec4<f32>(square_sum)).x / 64.0;
    let normed = (y - mean) / sqrt(variance + GROUP_NORM_EPSILON) * norm_weight + norm_bias;
    let gated = (normed + sums.y * v) * gate;
    {% if rounds_output %}
    if (lane == 0u) {
        bonus[row] = gated; // whose sums have been made
    }
    workgroupBarrier();
    let first = 16u * local;
    if (first < 64u) {
        let sixteen = rounded(bonus_at(first), bonus_at(first + 4u), bonus_at(first + 8u), bonus_at(first + 12u));
        store_rounded(0u, workgroup.x * 4u + local, sixteen);
    }
    {% else %}
    if (lane == 0u) {
        out[channel] = gated;
    }
    {% endif %}
}
