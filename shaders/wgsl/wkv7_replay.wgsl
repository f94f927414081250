// The recurrence of sequences that read guessed tokens, a workgroup a head of a sequence. What is due is replayed from the log of
// the run before, which ends with the state being written. The tokens of this run go on from there in registers alone; their updates are
// noted in another log. Twin: twins::wkv7.
// {{ lanes }} invocations share a row of the state, every {{ lanes }}th vec4 each. Tokens are staged in workgroup memory {{ tile }} at a time.
{% include "replays.wgsl" %}
@group(0) @binding(0) var<storage, read> replays: array<Replay>;
{% include "time_mix.wgsl" %}
@group(0) @binding(2) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>; // [slots, heads, 64 values, 64 keys]
@group(0) @binding(4) var<storage, read> due: array<vec4<f32>>; // [rows, updates, width]
@group(0) @binding(5) var<storage, read_write> noted: array<vec4<f32>>; // [rows, updates, width]
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // [tokens, width]

const LANES = {{ lanes }}u;
const TILE = {{ tile }}u;
const WORKGROUP = {{ 64 * lanes }}u;

{% set updates = ["decay", "key", "value", "removal", "replacement"] %}
{% for name in updates + ["receptance"] %}
var<workgroup> {{ name }}: array<vec4<f32>, {{ tile * 16 }}>; // [tokens, channels]
{% endfor %}
var<workgroup> removed_parts: array<f32, {{ 2 * 64 * lanes }}>; // [even and odd tokens, rows, lanes]
var<workgroup> read_parts: array<f32, {{ tile * 64 * lanes }}>; // [tokens, rows, lanes]

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

fn log_at(row: u32, update: u32, channel: u32) -> u32 {
    return (row * {{ updates | length }}u + update) * params.width + channel;
}

// Takes the invocation's part of the state through token t of the tile.
{% macro advance() %}
            let at = t * 16u + lane;
            {% for c in range(parts) %}
            let removed{{ c }} = {% if c == 0 %}s0 * removal[at]{% else %}fma(s{{ c }}, removal[at + {{ c * lanes }}u], removed{{ c - 1 }}){% endif %};
            {% endfor %}
            let shared_parts = (t & 1u) * WORKGROUP; // those of the token before may still be read
            removed_parts[shared_parts + local] = total(removed{{ parts - 1 }});
            workgroupBarrier();
            let of_row = shared_parts + row * LANES;
            let removed = {% for l in range(lanes) %}removed_parts[of_row + {{ l }}u]{{ " + " if not loop.last }}{% endfor %};
            let v = value[t * 16u + row / 4u][row % 4u];
            {% for c in range(parts) %}
            s{{ c }} = fma(vec4<f32>(-removed), replacement[at + {{ c * lanes }}u], fma(vec4<f32>(v), key[at + {{ c * lanes }}u], s{{ c }} * decay[at + {{ c * lanes }}u]));
            {% endfor %}
{% endmacro %}

@compute @workgroup_size({{ 64 * lanes }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let replay = replays[workgroup.y];
    if (replay.due + replay.count == 0u) {
        return;
    }
    let head = workgroup.x;
    let row = local / LANES;
    let lane = local % LANES;
    let state_row = (replay.slot * params.width * 4u + head * 64u + row) * 16u + lane;
    {% for c in range(parts) %}
    var s{{ c }} = state[state_row + {{ c * lanes }}u];
    {% endfor %}

    // The first {{ tile * 16 }} invocations stage four channels of a token each; beyond the end the last token's.
    let staged_token = local / 16u;
    let channel = head * 16u + local % 16u;
    for (var first = 0u; first < replay.due; first += TILE) {
        workgroupBarrier(); // the last tokens have been read
        if (local < {{ tile * 16 }}u) {
            let log_row = replay.first_due + min(first + staged_token, replay.due - 1u);
            {% for name in updates %}
            {{ name }}[local] = due[log_at(log_row, {{ loop.index0 }}u, channel)];
            {% endfor %}
        }
        workgroupBarrier();
        let tokens = min(TILE, replay.due - first);
        for (var t = 0u; t < tokens; t++) {
            {{ advance() }}
        }
    }
    if (replay.due > 0u) {
        {% for c in range(parts) %}
        state[state_row + {{ c * lanes }}u] = s{{ c }};
        {% endfor %}
    }

    for (var first = 0u; first < replay.count; first += TILE) {
        workgroupBarrier(); // the last tokens have been read
        if (local < {{ tile * 16 }}u) {
            let token = replay.first + min(first + staged_token, replay.count - 1u);
            let kk = mixed[mixed_at(REMOVAL_KEY, token, channel)];
            receptance[local] = mixed[mixed_at(RECEPTANCE, token, channel)];
            decay[local] = mixed[mixed_at(DECAY, token, channel)];
            key[local] = mixed[mixed_at(KEY, token, channel)];
            value[local] = mixed[mixed_at(params.value_slot, token, channel)];
            removal[local] = kk;
            replacement[local] = kk * mixed[mixed_at(ICLR, token, channel)];
            if (first + staged_token < replay.count) {
                {% for name in updates %}
                noted[log_at(token, {{ loop.index0 }}u, channel)] = {{ name }}[local];
                {% endfor %}
            }
        }
        workgroupBarrier();
        let tokens = min(TILE, replay.count - first);
        for (var t = 0u; t < tokens; t++) {
            {{ advance() }}
            {% for c in range(parts) %}
            let y{{ c }} = {% if c == 0 %}s0 * receptance[at]{% else %}fma(s{{ c }}, receptance[at + {{ c * lanes }}u], y{{ c - 1 }}){% endif %};
            {% endfor %}
            read_parts[t * WORKGROUP + local] = total(y{{ parts - 1 }});
        }
        workgroupBarrier();
        // As many invocations as values of a tile.
        let read_token = local / 64u;
        let of_value = read_token * WORKGROUP + (local % 64u) * LANES;
        if (read_token < tokens) {
            let read = {% for l in range(lanes) %}read_parts[of_value + {{ l }}u]{{ " + " if not loop.last }}{% endfor %};
            y[(replay.first + first + read_token) * params.width * 4u + head * 64u + local % 64u] = read;
        }
    }
}
