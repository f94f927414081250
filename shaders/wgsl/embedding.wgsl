// Embedding rows of tokens: out[t] = table[tokens[t]]. Twin: twins::embedding. A table above the binding limit is
// split by rows: each part has a dispatch of its own, which passes over the tokens of the others.
{% include "rows.wgsl" %}
struct Params {
    first_token: u32, // of this part of the table
    token_count: u32,
    row_stride: u32,  // vec4s of an encoded row
    spans: u32,       // of a row
    weights: u32,     // first vec4 of the part
    width: u32,       // vec4s of a decoded row
}

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>; // [token_count] encoded rows
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>; // [tokens, width]

{% include "half.wgsl" %}
{% include "encodings/common.wgsl" %}
{% include "encodings/k_scales.wgsl" %}
{% set suffix = "" %}
{% include encoding %}
override WORKGROUP = 64u;

// One invocation decodes 16 weights.
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let span = id.x >> 1u;
    let half = id.x & 1u;
    let row = tokens[id.y] - params.first_token;
    if (id.y >= rows.count || span >= params.spans || row >= params.token_count) {
        return;
    }
    let packed = fetch(params.weights + row * params.row_stride, params.spans, span);
    let decoded = decode(packed, span, half);
    let column = (first_column(span) + half * HALF_STRIDE) >> 2u;
    {% for i in range(4) %}
    if (column + {{ i }}u < params.width) { // rows of F16 and F32 are padded
        out[id.y * params.width + column + {{ i }}u] = decoded.scale * decoded.quants[{{ i }}] + decoded.offset;
    }
    {% endfor %}
}
