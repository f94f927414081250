// The recurrence, token by token. Twin: twins::wkv7.
//   S = S diag(w) - (S kk) (kk a)^T + v k^T        y = S r
// S is [value row, key column]; its rows do not need one another, so a workgroup takes {{ rows }} rows of a head
// of a sequence.
// An invocation holds a row in registers. Tokens are staged in workgroup memory {{ tile }} at a time; the next ones are loaded while these are computed.
{% include "sequences.wgsl" %}
{% include "time_mix.wgsl" %}
@group(0) @binding(2) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>; // [slots, heads, 64 values, 64 keys]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [tokens, width]

const ROWS = {{ rows }}u;
const TILE = {{ tile }}u;

{% set staged = ["receptance", "decay", "key", "removal", "iclr"] %}
{% for name in ["receptance", "decay", "key", "removal", "replacement"] %}
var<workgroup> {{ name }}: array<vec4<f32>, {{ tile * 16 }}u>; // [tokens, keys]
{% endfor %}
var<workgroup> value: array<vec4<f32>, {{ tile * rows // 4 }}u>; // [tokens, rows of the workgroup]

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

{% set key_loads = (tile * 16 + rows - 1) // (rows) %}
{% set value_loads = (tile * rows // 4 + rows - 1) // (rows) %}
// Loads what the invocation stages of the tokens from `first` on; beyond the end the last token's.
{% macro load() %}
        {% for l in range(key_loads) %}
        {
            let i = local + {{ l * rows }}u;
            let token = sequence.first + min(first + i / 16u, sequence.count - 1u);
            let channel = head * 16u + i % 16u;
            next_receptance{{ l }} = mixed[mixed_at(RECEPTANCE, token, channel)];
            next_decay{{ l }} = mixed[mixed_at(DECAY, token, channel)];
            next_key{{ l }} = mixed[mixed_at(KEY, token, channel)];
            next_removal{{ l }} = mixed[mixed_at(REMOVAL_KEY, token, channel)];
            next_iclr{{ l }} = mixed[mixed_at(ICLR, token, channel)];
        }
        {% endfor %}
        {% for l in range(value_loads) %}
        {
            let i = local + {{ l * rows }}u;
            let token = sequence.first + min(first + i / (ROWS / 4u), sequence.count - 1u);
            next_value{{ l }} = mixed[mixed_at(params.value_slot, token, head * 16u + first_row / 4u + i % (ROWS / 4u))];
        }
        {% endfor %}
{% endmacro %}

@compute @workgroup_size(ROWS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let sequence = sequences[workgroup.z];
    if (sequence.count == 0u) {
        return;
    }
    let head = workgroup.x;
    let first_row = workgroup.y * ROWS;
    let state_row = sequence.slot * params.width * 64u + (head * 64u + first_row + local) * 16u;
    {% for c in range(16) %}
    var s{{ c }} = state[state_row + {{ c }}u];
    {% endfor %}
    {% for l in range(key_loads) %}
    {% for name in staged %}
    var next_{{ name }}{{ l }}: vec4<f32>;
    {% endfor %}
    {% endfor %}
    {% for l in range(value_loads) %}
    var next_value{{ l }}: vec4<f32>;
    {% endfor %}

    var first = 0u;
    {{ load() }}
    while (first < sequence.count) {
        let staged_first = first;
        {% for l in range(key_loads) %}
        {
            let i = local + {{ l * rows }}u;
            {% if (l + 1) * rows > tile * 16 %}
            if (i < {{ tile * 16 }}u)
            {% endif %}
            {
                receptance[i] = next_receptance{{ l }};
                decay[i] = next_decay{{ l }};
                key[i] = next_key{{ l }};
                removal[i] = next_removal{{ l }};
                replacement[i] = next_removal{{ l }} * next_iclr{{ l }};
            }
        }
        {% endfor %}
        {% for l in range(value_loads) %}
        {
            let i = local + {{ l * rows }}u;
            {% if (l + 1) * rows > tile * rows // 4 %}
            if (i < {{ tile * rows // 4 }}u)
            {% endif %}
            {
                value[i] = next_value{{ l }};
            }
        }
        {% endfor %}
        workgroupBarrier();
        first += TILE;
        {{ load() }}
        let tokens = min(TILE, sequence.count - staged_first);
        for (var t = 0u; t < tokens; t++) {
            let at = t * 16u;
            {% for c in range(16) %}
            let removed{{ c }} = {% if c < 2 %}s{{ c }} * removal[at + {{ c }}u]{% else %}fma(s{{ c }}, removal[at + {{ c }}u], removed{{ c - 2 }}){% endif %};
            {% endfor %}
            let removed = total(removed14 + removed15);
            let v = value[t * (ROWS / 4u) + local / 4u][local % 4u];
            {% for c in range(16) %}
            s{{ c }} = fma(vec4<f32>(-removed), replacement[at + {{ c }}u], fma(vec4<f32>(v), key[at + {{ c }}u], s{{ c }} * decay[at + {{ c }}u]));
            {% endfor %}
            {% for c in range(16) %}
            let y{{ c }} = {% if c < 2 %}s{{ c }} * receptance[at + {{ c }}u]{% else %}fma(s{{ c }}, receptance[at + {{ c }}u], y{{ c - 2 }}){% endif %};
            {% endfor %}
            y[(sequence.first + staged_first + t) * params.width * 4u + head * 64u + first_row + local] = total(y14 + y15);
        }
        workgroupBarrier(); // all have read the staged tokens
    }
    {% for c in range(16) %}
    state[state_row + {{ c }}u] = s{{ c }};
    {% endfor %}
}
