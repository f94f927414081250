// The recurrence, token by token, on subgroups. Twin: twins::wkv7.
//   S = S diag(w) - (S kk) (kk a)^T + v k^T        y = S r
// S is [value row, key column]; its rows do not need one another. {{ lanes }} invocations share {{ rows }} rows of a head, every
// {{ lanes }}th vec4 each, and add up their parts of S kk in their subgroup; a workgroup takes {{ groups }} such groups. One token waits
// for the one before it, so everything else is moved out of that chain: {{ lanes }} tokens are staged in workgroup memory while
// the next ones are loaded, each token's vectors are read one token ahead, and the sums of y are finished once a tile.
{% include "sequences.wgsl" %}
{% include "time_mix.wgsl" %}
@group(0) @binding(2) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>; // [slots, heads, 64 values, 64 keys]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [tokens, width]

const LANES = {{ lanes }}u;
const ROWS = {{ groups * rows }}u;
const WORKGROUP = {{ groups * lanes }}u;
const TILE = {{ lanes }}u;
{% set tile = lanes %}
{% set workgroup = groups * lanes %}
{% set staged = ["receptance", "decay", "key", "removal", "iclr"] %}
{% for name in ["receptance", "decay", "key", "removal", "replacement"] %}
var<workgroup> {{ name }}: array<vec4<f32>, {{ tile * 16 }}u>; // [tokens, keys]
{% endfor %}
var<workgroup> value: array<vec{{ rows }}<f32>, {{ tile * groups }}u>; // [tokens, groups]

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

{% set key_loads = (tile * 16 + workgroup - 1) // workgroup %}
{% set value_loads = (tile * groups + workgroup - 1) // workgroup %}
{% macro load() %}
        {% for l in range(key_loads) %}
        {
            let i = local + {{ l * workgroup }}u;
            let token = sequence.first + min(first + i / 16u, sequence.count - 1u);
            let at = token * params.width + head * 16u + i % 16u;
            next_receptance{{ l }} = mixed[at + RECEPTANCE * params.slot_stride];
            next_decay{{ l }} = mixed[at + DECAY * params.slot_stride];
            next_key{{ l }} = mixed[at + KEY * params.slot_stride];
            next_removal{{ l }} = mixed[at + REMOVAL_KEY * params.slot_stride];
            next_iclr{{ l }} = mixed[at + ICLR * params.slot_stride];
        }
        {% endfor %}
        {
            let row = first_row + (local % {{ groups }}u) * {{ rows }}u;
            let token = sequence.first + min(first + local / {{ groups }}u, sequence.count - 1u);
            next_value = mixed[mixed_at(params.value_slot, token, head * 16u + row / 4u)];
        }
{% endmacro %}
{% macro fetch(t, into) %}
            {% for c in range(parts) %}
            let {{ into }}kk{{ c }} = removal[{{ t * 16 + c * lanes }}u + lane];
            {% endfor %}
            {% for c in range(parts) %}
            let {{ into }}w{{ c }} = decay[{{ t * 16 + c * lanes }}u + lane];
            let {{ into }}k{{ c }} = key[{{ t * 16 + c * lanes }}u + lane];
            let {{ into }}b{{ c }} = replacement[{{ t * 16 + c * lanes }}u + lane];
            let {{ into }}r{{ c }} = receptance[{{ t * 16 + c * lanes }}u + lane];
            {% endfor %}
            let {{ into }}v = value[{{ t * groups }}u + group];
{% endmacro %}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let sequence = sequences[workgroup.z];
    if (sequence.count == 0u) {
        return;
    }
    let head = workgroup.x;
    let first_row = workgroup.y * ROWS;
    let group = local / LANES;
    let lane = local % LANES;
    let state_row = sequence.slot * params.width * 64u + (head * 64u + first_row + group * {{ rows }}u) * 16u + lane;
    {% for q in range(rows) %}
    {% for c in range(parts) %}
    var s{{ q }}_{{ c }} = state[state_row + {{ q * 16 + c * lanes }}u];
    {% endfor %}
    {% endfor %}
    {% for l in range(key_loads) %}
    {% for name in staged %}
    var next_{{ name }}{{ l }}: vec4<f32>;
    {% endfor %}
    {% endfor %}
    var next_value: vec4<f32>;
    var first = 0u;
    {{ load() }}
    let y_at = head * 64u + first_row + group * {{ rows }}u;
    while (first < sequence.count) {
        let staged_first = first;
        {% for l in range(key_loads) %}
        {
            let i = local + {{ l * workgroup }}u;
            {% if (l + 1) * workgroup > tile * 16 %}
            if (i < {{ tile * 16 }}u)
            {% endif %}
            {
                // A token beyond the last leaves the state as it is.
                let is_token = vec4<bool>(first + i / 16u < sequence.count);
                receptance[i] = next_receptance{{ l }};
                decay[i] = select(vec4<f32>(1.0), next_decay{{ l }}, is_token);
                key[i] = select(vec4<f32>(), next_key{{ l }}, is_token);
                removal[i] = next_removal{{ l }};
                replacement[i] = select(vec4<f32>(), next_removal{{ l }} * next_iclr{{ l }}, is_token);
            }
        }
        {% endfor %}
        {% if value_loads * workgroup > tile * groups %}
        if (local < {{ tile * groups }}u)
        {% endif %}
        {
            value[local] = select(next_value.xy, next_value.zw, local % 2u == 1u);
        }
        workgroupBarrier();
        first += TILE;
        {{ load() }}
        {{ fetch(0, "t0_") }}
        {% for t in range(tile) %}
            {% if t + 1 < tile %}
            {{ fetch(t + 1, "t" ~ (t + 1) ~ "_") }}
            {% endif %}
            {% set p = "t" ~ t ~ "_" %}
            {% for q in range(rows) %}
            {% for c in range(parts) %}
            let {{ p }}removed{{ q }}_{{ c }} = {% if c < 2 %}s{{ q }}_{{ c }} * {{ p }}kk{{ c }}{% else %}fma(s{{ q }}_{{ c }}, {{ p }}kk{{ c }}, {{ p }}removed{{ q }}_{{ c - 2 }}){% endif %};
            {% endfor %}
            var {{ p }}removed{{ q }} = total({% if parts > 1 %}{{ p }}removed{{ q }}_{{ parts - 2 }} + {% endif %}{{ p }}removed{{ q }}_{{ parts - 1 }});
            {% for c in range(parts) %}
            s{{ q }}_{{ c }} = fma(vec4<f32>({{ p }}v[{{ q }}]), {{ p }}k{{ c }}, s{{ q }}_{{ c }} * {{ p }}w{{ c }});
            {% endfor %}
            {% endfor %}
            {% for mask in [1, 2, 4, 8] if mask < lanes %}
            {% for q in range(rows) %}
            {{ p }}removed{{ q }} += subgroupShuffleXor({{ p }}removed{{ q }}, {{ mask }}u);
            {% endfor %}
            {% endfor %}
            {% for q in range(rows) %}
            {% for c in range(parts) %}
            s{{ q }}_{{ c }} = fma(vec4<f32>(-{{ p }}removed{{ q }}), {{ p }}b{{ c }}, s{{ q }}_{{ c }});
            {% endfor %}
            {% for c in range(parts) %}
            let {{ p }}y{{ q }}_{{ c }} = {% if c < 2 %}s{{ q }}_{{ c }} * {{ p }}r{{ c }}{% else %}fma(s{{ q }}_{{ c }}, {{ p }}r{{ c }}, {{ p }}y{{ q }}_{{ c - 2 }}){% endif %};
            {% endfor %}
            let y{{ q }}_1_{{ t }} = total({% if parts > 1 %}{{ p }}y{{ q }}_{{ parts - 2 }} + {% endif %}{{ p }}y{{ q }}_{{ parts - 1 }});
            {% endfor %}
        {% endfor %}
        // The lanes' parts of y for all tokens of the tile change places on the way: lane t ends with the sums of token t.
        {% for mask in [1, 2, 4, 8] if mask < lanes %}
        {% for q in range(rows) %}
        {% for i in range(tile // mask // 2) %}
        let y{{ q }}_{{ 2 * mask }}_{{ i }} = select(y{{ q }}_{{ mask }}_{{ 2 * i + 1 }}, y{{ q }}_{{ mask }}_{{ 2 * i }}, (lane & {{ mask }}u) == 0u) + subgroupShuffleXor(select(y{{ q }}_{{ mask }}_{{ 2 * i }}, y{{ q }}_{{ mask }}_{{ 2 * i + 1 }}, (lane & {{ mask }}u) == 0u), {{ mask }}u);
        {% endfor %}
        {% endfor %}
        {% endfor %}
        if (staged_first + lane < sequence.count) {
            {% for q in range(rows) %}
            y[(sequence.first + staged_first + lane) * params.width * 4u + y_at + {{ q }}u] = y{{ q }}_{{ tile }}_0;
            {% endfor %}
        }
        workgroupBarrier(); // all have read the staged tokens
    }
    {% for q in range(rows) %}
    {% for c in range(parts) %}
    state[state_row + {{ q * 16 + c * lanes }}u] = s{{ q }}_{{ c }};
    {% endfor %}
    {% endfor %}
}
