// Normed embedding rows of tokens: out[t] = norm(table[tokens[t]]). Twins: twins::embedding, twins::layer_norm. A table above
// the binding limit is split by rows: each part has a dispatch of its own, which passes over the tokens of the others.
// A row of NO_TOKEN becomes what it was in the step before: whether that ran away stays to be seen.
{% include "rows.wgsl" %}
struct Params {
    first_token: u32, // of this part of the table
    token_count: u32,
    row_stride: u32,  // vec4s of an encoded row
    weight: u32,      // first vec4 in vectors of the norm's
    bias: u32,
    epsilon: f32,
}

const NO_TOKEN = 0xffffffffu;
const WIDTH = {{ width }}u; // vec4s of a decoded row
const SPANS = {{ spans }}u; // of an encoded one
const WORKGROUP = {{ workgroup }}u;

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> tokens: array<u32>;
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>; // [token_count] encoded rows
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>; // [tokens, width]
@group(0) @binding(6) var<storage, read_write> embedded: array<vec4<f32>>; // the same, which nothing else writes

{% include "half.wgsl" %}
{% include "encodings/common.wgsl" %}
{% include "encodings/k_scales.wgsl" %}
{% set suffix = "" %}
{% include encoding %}

{% set summed = "f32" %}
{% include "workgroup_sums.wgsl" %}
{% set loads = (2 * spans + workgroup - 1) // workgroup %}

// A workgroup has a row, an invocation {{ loads }} times the 16 columns of a half of a span.
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, lane: Lane) {
    let token = tokens[workgroup.x];
    let row = token - params.first_token;
    if (workgroup.x >= rows.count) {
        return;
    }
    if (row >= params.token_count) {
        if (token == NO_TOKEN) {
            for (var i = lane.local; i < WIDTH; i += WORKGROUP) {
                out[workgroup.x * WIDTH + i] = embedded[workgroup.x * WIDTH + i];
            }
        }
        return;
    }
    {% for l in range(loads) %}
    let half{{ l }} = lane.local + {{ l * workgroup }}u;
    let span{{ l }} = min(half{{ l }} >> 1u, SPANS - 1u);
    let packed{{ l }} = fetch(row * params.row_stride, SPANS, span{{ l }});
    {% endfor %}
    {% for l in range(loads) %}
    // Halves that there are not begin where the row ends; rows of F16 and F32 end within a span.
    let column{{ l }} = select(WIDTH, (first_column(span{{ l }}) + (half{{ l }} & 1u) * HALF_STRIDE) >> 2u, half{{ l }} < 2u * SPANS);
    {% for c in range(4) %}
    let is{{ l }}_{{ c }} = column{{ l }} + {{ c }}u < WIDTH;
    let i{{ l }}_{{ c }} = min(column{{ l }} + {{ c }}u, WIDTH - 1u);
    let weight{{ l }}_{{ c }} = vectors[params.weight + i{{ l }}_{{ c }}];
    let bias{{ l }}_{{ c }} = vectors[params.bias + i{{ l }}_{{ c }}];
    {% endfor %}
    {% endfor %}

    var sum = vec4<f32>();
    {% for l in range(loads) %}
    let decoded{{ l }} = decode(packed{{ l }}, span{{ l }}, half{{ l }} & 1u);
    {% for c in range(4) %}
    var x{{ l }}_{{ c }} = decoded{{ l }}.scale * decoded{{ l }}.quants[{{ c }}] + decoded{{ l }}.offset;
    sum += select(vec4<f32>(), x{{ l }}_{{ c }}, is{{ l }}_{{ c }});
    {% endfor %}
    {% endfor %}
    let mean = workgroup_sum(lane, 0u, total(sum)) / f32(4u * WIDTH);
    var squares = vec4<f32>();
    {% for l in range(loads) %}
    {% for c in range(4) %}
    x{{ l }}_{{ c }} -= mean;
    squares += select(vec4<f32>(), x{{ l }}_{{ c }} * x{{ l }}_{{ c }}, is{{ l }}_{{ c }});
    {% endfor %}
    {% endfor %}
    let variance = workgroup_sum(lane, 1u, total(squares)) / f32(4u * WIDTH);
    let scale = 1.0 / sqrt(variance + params.epsilon);
    {% for l in range(loads) %}
    {% for c in range(4) %}
    if (is{{ l }}_{{ c }}) {
        let normed = x{{ l }}_{{ c }} * scale * weight{{ l }}_{{ c }} + bias{{ l }}_{{ c }};
        out[workgroup.x * WIDTH + i{{ l }}_{{ c }}] = normed;
        embedded[workgroup.x * WIDTH + i{{ l }}_{{ c }}] = normed;
    }
    {% endfor %}
    {% endfor %}
}
