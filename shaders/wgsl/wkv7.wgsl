// The recurrence, token by token, a workgroup a head. Twin: twins::wkv7.
//   S = S diag(w) - (S kk) (kk a)^T + v k^T        y = S r
// S is [value row, key column]; its rows do not need one another.
{% if lanes == 1 %}
// An invocation holds a row in registers.
{% else %}
// {{ lanes }} invocations hold a row in registers, every {{ lanes }}th vec4 each, and add up their parts of the two products through
// workgroup memory.
{% endif %}
{% include "time_mix.wgsl" %}
@group(0) @binding(2) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>; // [heads, 64 values, 64 keys]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [tokens, width]

const LANES = {{ lanes }}u;
const WORKGROUP = 64u * LANES;
const TILE = {{ tile }}u; // tokens staged in workgroup memory at a time

var<workgroup> receptance: array<vec4<f32>, TILE * 16u>;
var<workgroup> decay: array<vec4<f32>, TILE * 16u>;
var<workgroup> key: array<vec4<f32>, TILE * 16u>;
var<workgroup> value: array<vec4<f32>, TILE * 16u>;
var<workgroup> removal: array<vec4<f32>, TILE * 16u>;     // kk
var<workgroup> replacement: array<vec4<f32>, TILE * 16u>; // kk a
{% if lanes > 1 %}
var<workgroup> removed_parts: array<f32, 2u * WORKGROUP>; // of two tokens in turn: one barrier a token is enough
var<workgroup> y_parts: array<f32, TILE * WORKGROUP>;
{% endif %}

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = workgroup.x;
    let row = local / LANES;
    let lane = local % LANES;
    let state_row = (head * 64u + row) * 16u + lane;
    {% for c in range(parts) %}
    var s{{ c }} = state[state_row + {{ c * lanes }}u];
    {% endfor %}

    for (var first = 0u; first < rows.count; first += TILE) {
        let tokens = min(TILE, rows.count - first);
        for (var i = local; i < tokens * 16u; i += WORKGROUP) {
            let token = first + i / 16u;
            let channel = head * 16u + i % 16u;
            let kk = mixed[mixed_at(REMOVAL_KEY, token, channel)];
            receptance[i] = mixed[mixed_at(RECEPTANCE, token, channel)];
            decay[i] = mixed[mixed_at(DECAY, token, channel)];
            key[i] = mixed[mixed_at(KEY, token, channel)];
            value[i] = mixed[mixed_at(params.value_slot, token, channel)];
            removal[i] = kk;
            replacement[i] = kk * mixed[mixed_at(ICLR, token, channel)];
        }
        workgroupBarrier();
        for (var t = 0u; t < tokens; t++) {
            let at = t * 16u + lane;
            {% for c in range(parts) %}
            let removed{{ c }} = {% if c < 2 %}s{{ c }} * removal[at + {{ c * lanes }}u]{% else %}fma(s{{ c }}, removal[at + {{ c * lanes }}u], removed{{ c - 2 }}){% endif %};
            {% endfor %}
            {% if lanes == 1 %}
            let removed = total(removed{{ parts - 2 }} + removed{{ parts - 1 }});
            {% else %}
            let parity = (t & 1u) * WORKGROUP;
            removed_parts[parity + local] = total(removed{{ parts - 2 }} + removed{{ parts - 1 }});
            workgroupBarrier();
            let parts = parity + row * LANES;
            let removed = {% for q in range(lanes) %}removed_parts[parts + {{ q }}u]{% if not loop.last %} + {% endif %}{% endfor %};
            {% endif %}
            let v = value[t * 16u + row / 4u][row % 4u];
            {% for c in range(parts) %}
            s{{ c }} = fma(vec4<f32>(v), key[at + {{ c * lanes }}u], fma(vec4<f32>(-removed), replacement[at + {{ c * lanes }}u], s{{ c }} * decay[at + {{ c * lanes }}u]));
            {% endfor %}
            {% for c in range(parts) %}
            let y{{ c }} = {% if c < 2 %}s{{ c }} * receptance[at + {{ c * lanes }}u]{% else %}fma(s{{ c }}, receptance[at + {{ c * lanes }}u], y{{ c - 2 }}){% endif %};
            {% endfor %}
            {% if lanes == 1 %}
            y[(first + t) * params.width * 4u + head * 64u + row] = total(y{{ parts - 2 }} + y{{ parts - 1 }});
            {% else %}
            y_parts[t * WORKGROUP + local] = total(y{{ parts - 2 }} + y{{ parts - 1 }});
            {% endif %}
        }
        workgroupBarrier(); // all have read the staged tokens, and written their parts
        {% if lanes > 1 %}
        for (var i = local; i < tokens * 64u; i += WORKGROUP) {
            let parts = i * LANES;
            y[(first + i / 64u) * params.width * 4u + head * 64u + i % 64u] = {% for q in range(lanes) %}y_parts[parts + {{ q }}u]{% if not loop.last %} + {% endif %}{% endfor %};
        }
        {% endif %}
    }
    {% for c in range(parts) %}
    state[state_row + {{ c * lanes }}u] = s{{ c }};
    {% endfor %}
}
