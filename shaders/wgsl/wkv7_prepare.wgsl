// The chunked recurrence, first part: what a chunk does, whatever the state. Twin: twins::wkv7_chunked.
// With b = kk a, and every vector decayed from or to the beginning of the chunk,
//   L = -kk b^T, masked s < t     P = (I - L)^-1 (-kk)     Q = (I - L)^-1 (-kk k^T masked s < t) v
//   M = r b^T, masked s <= t      E = r + M P              F = M Q + (r k^T masked s <= t) v
// A workgroup a chunk and head. An invocation has one channel of all the chunk's tokens, four to a vec4: 64 of them of kk, r
// and b, then of P and E, whose columns are keys; the others of v and k, then of Q and F, whose columns are values.
// (I - L)^-1 is never formed: each column is solved for by substitution, apart from all others.
{% include "wkv7_chunked.wgsl" %}
@group(0) @binding(2) var<storage, read> mixed: array<f32>;
@group(0) @binding(3) var<storage, read_write> prepared: array<f32>;

const HALF = 32u;  // channels of which the products are taken at a time
const PADDED = 9u; // vec4s from channel to channel of left and right: the padding spreads the writes over the banks

// Transposed, [HALF channels, 32 rows]: the rows of left are -kk and r of the chunk's tokens, those of right b and k.
var<workgroup> left: array<vec4<f32>, HALF * PADDED>;
var<workgroup> right: array<vec4<f32>, HALF * PADDED>;
// left right^T, masked, [32, 32]
var<workgroup> gram: array<vec4<f32>, 32u * 8u>;

fn load(slot: u32, token: u32, channel: u32, beyond_last: f32) -> f32 {
    let value = mixed[mixed_at(slot, min(token, rows.count - 1u), 0u) * 4u + channel];
    return select(value, beyond_last, token >= rows.count);
}

{# Element t of a column in four vec4s. #}
{% macro element(column, t) %}{{ column }}{{ t // 4 }}.{{ "xyzw"[t % 4] }}{% endmacro %}
{# A row of gram, from vec4 `first` on, times a column of which the tokens up to t are seen. #}
{% macro product(row, first, t, column) %}
{% for q in range(t // 4 + 1) %}dot(gram[{{ row * 8 + first + q }}u], {{ column }}{{ q }}){% if not loop.last %} + {% endif %}{% endfor %}
{% endmacro %}
@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = workgroup.x;
    let first = workgroup.y * CHUNK;
    if (first >= rows.count) {
        return;
    }
    let side = local / 64u; // 0: columns of keys, 1: of values
    let channel = local % 64u;
    let column = head * 64u + channel;
    let item = item_at(workgroup.y, head) * 4u + channel;

    {% for q in range(4) %}
    var x{{ q }}: vec4<f32>; // -kk, then P; v, then Q
    var z{{ q }}: vec4<f32>; // r, then E; then F
    var right{{ q }}: vec4<f32>; // b; k
    {% endfor %}
    // Decays are multiplied: their logarithms would lose, near 1, what a long memory depends on. In a chunk of 16 tokens their
    // product is at least 6e-5, so its reciprocal is harmless.
    var decay = 1.0;
    if (side == 0u) {
        {% for t in range(chunk) %}
        let kk{{ t }} = load(REMOVAL_KEY, first + {{ t }}u, column, 0.0);
        {{ element("x", t) }} = -kk{{ t }} * decay;
        decay *= load(DECAY, first + {{ t }}u, column, 1.0);
        {{ element("z", t) }} = load(RECEPTANCE, first + {{ t }}u, column, 0.0) * decay;
        {{ element("right", t) }} = kk{{ t }} * load(ICLR, first + {{ t }}u, column, 0.0) / decay;
        {% endfor %}
        prepared[item + TOTAL_DECAY * 4u] = decay;
    } else {
        {% for t in range(chunk) %}
        {{ element("x", t) }} = load(params.value_slot, first + {{ t }}u, column, 0.0);
        decay *= load(DECAY, first + {{ t }}u, column, 1.0);
        {{ element("right", t) }} = load(KEY, first + {{ t }}u, column, 0.0) / decay;
        {% endfor %}
    }
    let b_or_k = item + (B_AND_K + side * MATRIX) * 4u;
    {% for t in range(chunk) %}
    prepared[b_or_k + {{ t * 64 }}u] = {{ element("right", t) }} * decay;
    {% endfor %}

    // Of gram an invocation computes two rows of a vec4 each.
    let row = local / 8u * 2u;
    let quad = local % 8u;
    var gram0 = vec4<f32>();
    var gram1 = vec4<f32>();
    for (var part = 0u; part < 2u; part++) {
        workgroupBarrier(); // the last half has been read
        if (channel / HALF == part) {
            let at = channel % HALF * PADDED;
            {% for q in range(4) %}
            right[at + side * 4u + {{ q }}u] = right{{ q }};
            {% endfor %}
            if (side == 0u) {
                {% for q in range(4) %}
                left[at + {{ q }}u] = x{{ q }};
                left[at + {{ 4 + q }}u] = z{{ q }};
                {% endfor %}
            }
        }
        workgroupBarrier();
        for (var c = 0u; c < HALF; c++) {
            let four_rows = left[c * PADDED + row / 4u];
            let two_rows = select(four_rows.xy, four_rows.zw, row % 4u == 2u);
            let columns = right[c * PADDED + quad];
            gram0 = fma(vec4<f32>(two_rows.x), columns, gram0);
            gram1 = fma(vec4<f32>(two_rows.y), columns, gram1);
        }
    }
    // kk meets the state before its token, r the state after: how many tokens row has to see.
    let seen = row % CHUNK + row / CHUNK;
    let tokens = quad % 4u * 4u + vec4<u32>(0u, 1u, 2u, 3u);
    gram[row * 8u + quad] = select(vec4<f32>(), gram0, tokens < vec4<u32>(seen));
    gram[row * 8u + 8u + quad] = select(vec4<f32>(), gram1, tokens < vec4<u32>(seen + 1u));
    workgroupBarrier();

    if (side == 1u) {
        {% for q in range(4) %}
        let v{{ q }} = x{{ q }};
        {% endfor %}
        {% for t in range(chunk) %}
        {{ element("x", t) }} = {{ product(t, 4, t, "v") }};
        {{ element("z", t) }} = {{ product(chunk + t, 4, t, "v") }};
        {% endfor %}
    }
    {% for t in range(1, chunk) %}
    {{ element("x", t) }} += {{ product(t, 0, t, "x") }};
    {% endfor %}
    let p_or_q = item + select(P_AND_E, Q_AND_F, side == 1u) * 4u;
    {% for t in range(chunk) %}
    prepared[p_or_q + {{ t * 64 }}u] = {{ element("x", t) }};
    prepared[p_or_q + MATRIX * 4u + {{ t * 64 }}u] = {{ element("z", t) }} + {{ product(chunk + t, 0, t, "x") }};
    {% endfor %}
}
