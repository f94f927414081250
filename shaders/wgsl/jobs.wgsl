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
    encoding: u32,      // where a dispatch has several: which one
    first_workgroup: u32, // where the grid is not one of jobs: the first that serves this job
    padding: vec2<u32>,
}

const NO_MIX = 0xffffffffu;
// What a squared relu is multiplied by where it is stored as f16, whose range ends at 65,504.
const HIDDEN_SCALE = {{ hidden_scale }};

@group(0) @binding(1) var<uniform> jobs: array<Job, {{ max_jobs }}>;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> input: array<vec4<{{ input }}>>;
@group(0) @binding(5) var<storage, read_write> out: array<{{ output }}>;

{% include "half.wgsl" %}
{% include "encodings/common.wgsl" %}
{% include "encodings/k_scales.wgsl" %}
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
            let first_value = f32(out[job.first_value + token * job.output_stride + row]);
            let own_value = f32(out[at]);
            value = own_value + (first_value - own_value) * sigmoid(bias_at(job, row) + product);
        }
        case 6u: { // squared relu
            let positive = select(product, 0.0, product < 0.0); // max and min would hide what is not a number
            {% if output == "f16" %}
            let scaled = positive * positive * HIDDEN_SCALE;
            value = select(scaled, 65504.0, scaled > 65504.0);
            {% else %}
            value = positive * positive;
            {% endif %}
        }
        case 7u: { // residual
            value = f32(out[at]) + product;
        }
        case 8u: { // residual, of the scaled squared relu
            value = f32(out[at]) + product / HIDDEN_SCALE;
        }
        default: {}
    }
    out[at] = {{ output }}(value);
}
