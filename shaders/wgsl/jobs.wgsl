// What the products share: several matrices of one encoding in one dispatch, one job each.
{% include "rows.wgsl" %}
// out[t][output + row] = epilogue(sum over columns of matrix[row][column] * input[t][column])
struct Job {
    weights: u32,       // first vec4 of the matrix
    weights_stride: u32, // vec4s of an encoded row
    rows: u32,
    spans: u32,         // of a row
    input: u32,         // first vec4 of the first token's row
    input_stride: u32,  // vec4s from a token's row to the next
    mix: u32,           // first vec4 in vectors of the token shift's mix, or NO_MIX
    output: u32,        // first element of the first token's row
    output_stride: u32, // elements
    epilogue: u32,
    bias: u32,          // epilogues 3 to 5: first element in vectors
    first_value: u32,   // epilogue 5: first element of the first layer's values in out
}

const NO_MIX = 0xffffffffu;
// What a squared relu is multiplied by where it is stored as f16, whose range ends at 65,504.
const HIDDEN_SCALE = {{ hidden_scale }};
const LARGEST_HALF = 0x477fe000u; // as the bits of a float
const INFINITY = 0x7f800000u;

@group(0) @binding(1) var<uniform> jobs: array<Job, {{ max_jobs }}>;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
{% if encodings %}
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>;
{% endif %}
@group(0) @binding(4) var<storage, read> input: array<{{ input }}>;
@group(0) @binding(5) var<storage, read_write> out: array<{{ output }}>;

{% if encodings %}
{% include "half.wgsl" %}
{% include "encodings/common.wgsl" %}
{% include "encodings/k_scales.wgsl" %}
{% endif %}
{% for encoding in encodings %}
{% with suffix = loop.index0 if encodings | length > 1 else "" %}
{% include encoding %}
{% endwith %}
{% endfor %}

{% include "activations.wgsl" %}

fn bias_at(job: Job, row: u32) -> f32 {
    let at = job.bias + row;
    return vectors[at >> 2u][at & 3u];
}

// What the output holds, where the epilogue builds on that.
fn held(job: Job, token: u32, row: u32) -> f32 {
    if (job.epilogue == 5u || job.epilogue >= 7u) {
        return f32(out[job.output + token * job.output_stride + row]);
    }
    return 0.0;
}

// Turns the products of four rows into results, of which a kernel may use but the first.
fn results(job: Job, token: u32, row: u32, product: vec4<f32>, old: vec4<f32>) -> vec4<f32> {
    switch job.epilogue {
        case 1u: {
            return bounded_tanh(product);
        }
        case 2u: {
            return sigmoid(product);
        }
        case 3u: { // in-context learning rate
            return sigmoid(biases(job, row) + product);
        }
        case 4u: { // decay
            return exp(DECAY_SCALE * sigmoid(biases(job, row) + product));
        }
        case 5u: { // value residual: from the value towards the first layer's
            return old + (first_values(job, token, row) - old) * sigmoid(biases(job, row) + product);
        }
        case 6u: { // squared relu
            // A squared number below zero is left out, rather than the number: drivers make a maximum of that, which
            // hides what is not a number.
            let squared = select(product * product, vec4<f32>(), product < vec4<f32>());
            {% if output == "f16" %}
            // The largest f16 for everything above, told by the bits for the same reason.
            let scaled = squared * HIDDEN_SCALE;
            let bits = bitcast<vec4<u32>>(scaled);
            let is_above = (bits > vec4<u32>(LARGEST_HALF)) & (bits <= vec4<u32>(INFINITY));
            return select(scaled, vec4<f32>(65504.0), is_above);
            {% else %}
            return squared;
            {% endif %}
        }
        case 7u: { // residual
            return old + product;
        }
        case 8u: { // residual, of the scaled squared relu
            return old + product / HIDDEN_SCALE;
        }
        default: {
            return product;
        }
    }
}

// Of four rows; beyond the last one that of the last.
fn biases(job: Job, row: u32) -> vec4<f32> {
    let last = job.rows - 1u;
    return vec4<f32>(bias_at(job, row), bias_at(job, min(row + 1u, last)), bias_at(job, min(row + 2u, last)), bias_at(job, min(row + 3u, last)));
}

fn first_values(job: Job, token: u32, row: u32) -> vec4<f32> {
    let at = job.first_value + token * job.output_stride;
    let last = job.rows - 1u;
    return vec4<f32>(f32(out[at + row]), f32(out[at + min(row + 1u, last)]), f32(out[at + min(row + 2u, last)]), f32(out[at + min(row + 3u, last)]));
}

// Turns a product into the result and stores it.
fn finish(job: Job, token: u32, row: u32, product: f32) {
    let value = results(job, token, row, vec4<f32>(product), vec4<f32>(held(job, token, row))).x;
    out[job.output + token * job.output_stride + row] = {{ output }}(value);
}

// The same for four rows at once, all of which there are: their loads wait for memory together.
fn finish_four(job: Job, token: u32, row: u32, product: vec4<f32>) {
    let old = vec4<f32>(
        held(job, token, row),
        held(job, token, row + 1u),
        held(job, token, row + 2u),
        held(job, token, row + 3u),
    );
    let value = results(job, token, row, product, old);
    let at = job.output + token * job.output_stride + row;
    {% for c in range(4) %}
    out[at + {{ c }}u] = {{ output }}(value[{{ c }}]);
    {% endfor %}
}
