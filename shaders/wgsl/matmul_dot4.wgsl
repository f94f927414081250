{% if input == "vec4<f16>" or output == "f16" %}
enable f16;
{% endif %}
// Matrix of integers times many tokens, as integer dot products: inputs are rounded to 8-bit integers, 16 columns sharing a
// step. A workgroup of BLOCK_SIZE x BLOCK_SIZE invocations computes a tile of {{ tile_rows }} BLOCK_SIZE rows by
// {{ tile_tokens }} BLOCK_SIZE tokens, {{ tile_rows }} x {{ tile_tokens }} outputs each, a span at a time. Twins: twins::quantise, twins::matmul.
{% include "jobs.wgsl" %}
override BLOCK_SIZE = 16u;

// Sixteen integers, and what makes numbers of them: [halves of a span, rows or tokens].
var<workgroup> weight_integers: array<vec4<u32>, 2u * {{ tile_rows }}u * BLOCK_SIZE>;
var<workgroup> weight_factors: array<vec2<f32>, 2u * {{ tile_rows }}u * BLOCK_SIZE>; // weight = x * integer + y
var<workgroup> input_integers: array<vec4<u32>, 2u * {{ tile_tokens }}u * BLOCK_SIZE>;
var<workgroup> input_steps: array<vec2<f32>, 2u * {{ tile_tokens }}u * BLOCK_SIZE>; // input = x * integer; their sum is y

{% include "rounding.wgsl" %}

// Rounds sixteen columns of the input, from vec4 `first` on, into place `at` of the tile.
fn quantise(first: u32, at: u32) {
    {% for c in range(4) %}
    let x{{ c }} = vec4<f32>(input[first + {{ c }}u]);
    {% endfor %}
    let sixteen = rounded(x0, x1, x2, x3);
    input_integers[at] = sixteen.integers;
    input_steps[at] = sixteen.step_and_sum;
}

@compute @workgroup_size(BLOCK_SIZE, BLOCK_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = jobs[workgroup.z];
    let rows_in_tile = {{ tile_rows }}u * BLOCK_SIZE;
    let tokens_in_tile = {{ tile_tokens }}u * BLOCK_SIZE;
    let first_row = workgroup.x * rows_in_tile;
    let first_token = workgroup.y * tokens_in_tile;
    if (first_row >= job.rows || first_token >= rows.count) {
        return;
    }
    let thread_row = local % BLOCK_SIZE;
    let thread_token = local / BLOCK_SIZE;
    {% for r in range(tile_rows) %}
    var sum{{ r }} = vec{{ tile_tokens }}<f32>();
    {% endfor %}

    // The first invocations fetch a row each, the last ones round inputs. Rows and tokens that there are not repeat the
    // last one.
    let row = job.weights + min(first_row + local, job.rows - 1u) * job.weights_stride;
    let fetches = local < rows_in_tile;
    var packed: Packed;
    if (fetches) {
        packed = fetch(row, job.spans, 0u);
    }
    for (var span = 0u; span < job.spans; span++) {
        if (fetches) {
            {% for half in range(2) %}
            weight_integers[{{ half }}u * rows_in_tile + local] = quants(packed, span, {{ half }}u);
            weight_factors[{{ half }}u * rows_in_tile + local] = factors(packed, span, {{ half }}u);
            {% endfor %}
            packed = fetch(row, job.spans, min(span + 1u, job.spans - 1u));
        }
        for (var i = BLOCK_SIZE * BLOCK_SIZE - 1u - local; i < 2u * tokens_in_tile; i += BLOCK_SIZE * BLOCK_SIZE) {
            let token = min(first_token + i % tokens_in_tile, rows.count - 1u);
            let column = (first_column(span) + (i / tokens_in_tile) * HALF_STRIDE) >> 2u;
            quantise(job.input + token * job.input_stride + column, i);
        }
        workgroupBarrier();
        for (var half = 0u; half < 2u; half++) {
            {% for t in range(tile_tokens) %}
            let x{{ t }} = input_integers[half * tokens_in_tile + thread_token + {{ t }}u * BLOCK_SIZE];
            let step{{ t }} = input_steps[half * tokens_in_tile + thread_token + {{ t }}u * BLOCK_SIZE];
            {% endfor %}
            let steps = vec{{ tile_tokens }}<f32>({% for t in range(tile_tokens) %}step{{ t }}.x, {% endfor %});
            let input_sums = vec{{ tile_tokens }}<f32>({% for t in range(tile_tokens) %}step{{ t }}.y, {% endfor %});
            {% for r in range(tile_rows) %}
            {
                let w = weight_integers[half * rows_in_tile + thread_row + {{ r }}u * BLOCK_SIZE];
                let factors = weight_factors[half * rows_in_tile + thread_row + {{ r }}u * BLOCK_SIZE];
                let dots = vec{{ tile_tokens }}<f32>({% for t in range(tile_tokens) %}f32(dot_sixteen(w, x{{ t }})), {% endfor %});
                sum{{ r }} += fma(factors.x * steps, dots, factors.y * input_sums);
            }
            {% endfor %}
        }
        workgroupBarrier(); // all have read the tiles
    }

    {% for t in range(tile_tokens) %}
    {
        let token = first_token + thread_token + {{ t }}u * BLOCK_SIZE;
        {% for r in range(tile_rows) %}
        store(job, token, first_row + thread_row + {{ r }}u * BLOCK_SIZE, sum{{ r }}.{{ "xyzw"[t] }});
        {% endfor %}
    }
    {% endfor %}
}

fn store(job: Job, token: u32, row: u32, product: f32) {
    if (row < job.rows && token < rows.count) {
        finish(job, token, row, product);
    }
}
