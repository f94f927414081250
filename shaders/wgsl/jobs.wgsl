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

@group(0) @binding(1) var<uniform> jobs: array<Job, {{ max_jobs }}>;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

{% include "half.wgsl" %}
{% include "encodings/common.wgsl" %}
{% include encoding %}

// Four columns of a token's input, mixed with its predecessor's, which lies one row up. Twin: twins::token_shift.
fn mixed_input(job: Job, token: u32, column: u32) -> vec4<f32> {
    let at = job.input + token * job.input_stride + column;
    let x = input[at];
    if (job.mix == NO_MIX) {
        return x;
    }
    return x + (input[at - job.input_stride] - x) * vectors[job.mix + column];
}

{% include "activations.wgsl" %}

fn bias_at(job: Job, row: u32) -> f32 {
    let at = job.bias + row;
    return vectors[at >> 2u][at & 3u];
}

// Turns a product into the result and stores it.
fn finish(job: Job, token: u32, row: u32, product: f32) {
    let at = job.output + token * job.output_stride + row;
    var value = product;
    switch job.epilogue {
        case 1u: {
            value = bounded_tanh(product);
        }
        case 2u: {
            value = sigmoid(product);
        }
        case 3u: { // in-context learning rate
            value = sigmoid(bias_at(job, row) + product);
        }
        case 4u: { // decay
            value = exp(DECAY_SCALE * sigmoid(bias_at(job, row) + product));
        }
        case 5u: { // value residual: from the value towards the first layer's
            let first_value = out[job.first_value + token * job.output_stride + row];
            value = out[at] + (first_value - out[at]) * sigmoid(bias_at(job, row) + product);
        }
        case 6u: { // squared relu
            let positive = max(product, 0.0);
            value = positive * positive;
        }
        case 7u: { // residual
            value = out[at] + product;
        }
        default: {}
    }
    out[at] = value;
}
