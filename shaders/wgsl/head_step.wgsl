{% if output == "f16" %}
enable f16;
{% endif %}
// Time mixing of sequences with one token each between the low-rank products and the last one, a workgroup a head of a
// sequence: the keys, the recurrence, the group norm, the bonus, the gate. Twins: twins::removal_key, twins::scale_key,
// twins::wkv7, twins::group_norm, twins::bonus, twins::gate.
// It is bound by the bytes of the states, each read and written once. {{ lanes }} invocations share a row of the state, every
// {{ lanes }}th vec4 each; they ask for it before anything else.
{% include "rows.wgsl" %}
{% include "time_mix.wgsl" %}
{% include "links.wgsl" %}
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> links: array<Link>; // [tokens]
@group(0) @binding(5) var<storage, read_write> state: array<vec4<f32>>; // [slots, heads, 64 values, 64 keys]
@group(0) @binding(6) var<storage, read_write> out: array<vec4<{{ output }}>>; // [tokens, width]

const LANES = {{ lanes }}u;
const LEAST_NORM = 1e-12;
const EPSILON = 64e-5;
const HEAD_SIZE = 64.0;

// The head's vectors.
{% for name in ["receptance", "decay", "key", "removal", "replacement", "value"] %}
var<workgroup> {{ name }}: array<vec4<f32>, 16>;
{% endfor %}
var<workgroup> lane_parts: array<f32, {{ 64 * lanes }}>; // [rows, lanes]
var<workgroup> head_parts: array<vec2<f32>, 16>;

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

// The sums of two values over the first 16 invocations, which have four channels of the head each.
fn head_sums(local: u32, a: vec4<f32>, b: vec4<f32>) -> vec2<f32> {
    workgroupBarrier(); // the last sums have been read
    if (local < 16u) {
        head_parts[local] = vec2<f32>(total(a), total(b));
    }
    workgroupBarrier();
    var sums = vec2<f32>();
    for (var i = 0u; i < 16u; i++) {
        sums += head_parts[i];
    }
    return sums;
}

// Has every invocation see what the lanes of each row have.
fn share(local: u32, part: f32) {
    workgroupBarrier(); // the last parts have been read
    lane_parts[local] = part;
    workgroupBarrier();
}

fn row_sum(row: u32) -> f32 {
    {% for l in range(lanes) %}
    let part{{ l }} = lane_parts[row * LANES + {{ l }}u];
    {% endfor %}
    return {% for l in range(lanes) %}part{{ l }}{{ " + " if not loop.last }}{% endfor %};
}

@compute @workgroup_size({{ 64 * lanes }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    if (workgroup.y >= rows.count) {
        return;
    }
    let head = workgroup.x;
    let token = rows.first + workgroup.y;
    let row = local / LANES;
    let lane = local % LANES;
    let state_row = (links[token].slot * params.width * 4u + head * 64u + row) * 16u + lane;
    {% for c in range(parts) %}
    var s{{ c }} = state[state_row + {{ c * lanes }}u];
    {% endfor %}

    // The first 16 invocations have four channels each; the others see what those of the first do.
    let four = local % 16u;
    let channel = head * 16u + four;
    let r = mixed[mixed_at(RECEPTANCE, token, channel)];
    let k = mixed[mixed_at(KEY, token, channel)];
    let v = mixed[mixed_at(params.value_slot, token, channel)];
    let a = mixed[mixed_at(ICLR, token, channel)];
    let w = mixed[mixed_at(DECAY, token, channel)];
    let g = mixed[mixed_at(GATE, token, channel)];
    let raw = k * vectors[params.k_k + channel];
    let scaled = k * (1.0 + (a - 1.0) * vectors[params.k_a + channel]);
    let sums = head_sums(local, raw * raw, r * scaled * vectors[params.r_k + channel]);
    if (local < 16u) {
        let direction = raw / max(sqrt(sums.x), LEAST_NORM);
        receptance[local] = r;
        decay[local] = w;
        key[local] = scaled;
        removal[local] = direction;
        replacement[local] = direction * a;
        value[local] = v;
    }
    workgroupBarrier();

    let row_value = value[row / 4u][row % 4u];
    {% for c in range(parts) %}
    let removed{{ c }} = {% if c == 0 %}s0 * removal[lane]{% else %}fma(s{{ c }}, removal[{{ c * lanes }}u + lane], removed{{ c - 1 }}){% endif %};
    {% endfor %}
    share(local, total(removed{{ parts - 1 }}));
    let removed = row_sum(row);
    {% for c in range(parts) %}
    s{{ c }} = fma(vec4<f32>(-removed), replacement[{{ c * lanes }}u + lane], fma(vec4<f32>(row_value), key[{{ c * lanes }}u + lane], s{{ c }} * decay[{{ c * lanes }}u + lane]));
    state[state_row + {{ c * lanes }}u] = s{{ c }};
    {% endfor %}
    {% for c in range(parts) %}
    let y{{ c }} = {% if c == 0 %}s0 * receptance[lane]{% else %}fma(s{{ c }}, receptance[{{ c * lanes }}u + lane], y{{ c - 1 }}){% endif %};
    {% endfor %}
    share(local, total(y{{ parts - 1 }}));
    let of_four = vec4<f32>(row_sum(4u * four), row_sum(4u * four + 1u), row_sum(4u * four + 2u), row_sum(4u * four + 3u));
    let mean = head_sums(local, of_four, vec4<f32>()).x / HEAD_SIZE;
    let centred = of_four - mean;
    let variance = head_sums(local, centred * centred, vec4<f32>()).x / HEAD_SIZE;
    if (local < 16u) {
        let scale = 1.0 / sqrt(variance + EPSILON);
        let normalised = centred * scale * vectors[params.norm_weight + channel] + vectors[params.norm_bias + channel];
        out[token * params.width + channel] = vec4<{{ output }}>((normalised + sums.y * v) * g);
    }
}
