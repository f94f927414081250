{% if operand == "f16" or output == "f16" %}
enable f16;
{% endif %}
// Matrix times many tokens, {{ "operands rounded to f16, sums in f32" if operand == "f16" else "in f32" }}: a workgroup of BLOCK_SIZE x BLOCK_SIZE invocations computes a tile of
// {{ tile_rows }} BLOCK_SIZE rows by {{ tile_tokens }} BLOCK_SIZE tokens, {{ tile_rows }} x {{ tile_tokens }} outputs each, over 16 columns at a time, which it decodes
// into workgroup memory. Twin: twins::matmul.
{% include "jobs.wgsl" %}
override BLOCK_SIZE = 16u;

const STRIDE = 5u; // vec4s from row to row: 16 columns and a gap, so that neighbouring rows lie in different banks

var<workgroup> weight_tile: array<vec4<{{ operand }}>, {{ tile_rows }}u * BLOCK_SIZE * STRIDE>; // [rows, columns]
var<workgroup> input_tile: array<vec4<{{ operand }}>, {{ tile_tokens }}u * BLOCK_SIZE * STRIDE>; // [tokens, columns]

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

    // An invocation decodes one row at most. Rows and tokens that there are not repeat the last one.
    let row = job.weights + min(first_row + local, job.rows - 1u) * job.weights_stride;
    let decodes = local < rows_in_tile;
    var packed: Packed;
    if (decodes) {
        packed = fetch(row, job.spans, 0u);
    }
    for (var span = 0u; span < job.spans; span++) {
        // The columns of a span are summed apart: short sums of small numbers round less than one long sum does.
        {% for r in range(tile_rows) %}
        var part{{ r }} = vec{{ tile_tokens }}<f32>();
        {% endfor %}
        {% for half in range(2) %}
        if (decodes) {
            let decoded = decode(packed, span, {{ half }}u);
            {% for i in range(4) %}
            weight_tile[local * STRIDE + {{ i }}u] = vec4<{{ operand }}>(decoded.scale * decoded.quants[{{ i }}] + decoded.offset);
            {% endfor %}
            {% if half == 1 %}
            packed = fetch(row, job.spans, min(span + 1u, job.spans - 1u));
            {% endif %}
        }
        for (var i = local; i < 4u * tokens_in_tile; i += BLOCK_SIZE * BLOCK_SIZE) {
            let token = min(first_token + i / 4u, rows.count - 1u);
            let column = ((first_column(span) + {{ half }}u * HALF_STRIDE) >> 2u) + i % 4u;
            input_tile[(i / 4u) * STRIDE + i % 4u] = input[job.input + token * job.input_stride + column];
        }
        workgroupBarrier();
        for (var k = 0u; k < 4u; k++) {
            {% for t in range(tile_tokens) %}
            let x{{ t }} = vec4<f32>(input_tile[(thread_token + {{ t }}u * BLOCK_SIZE) * STRIDE + k]);
            {% endfor %}
            {% for c in "xyzw" %}
            let inputs_{{ c }} = vec{{ tile_tokens }}<f32>({% for t in range(tile_tokens) %}x{{ t }}.{{ c }}, {% endfor %});
            {% endfor %}
            {% for r in range(tile_rows) %}
            let w{{ r }} = vec4<f32>(weight_tile[(thread_row + {{ r }}u * BLOCK_SIZE) * STRIDE + k]);
            {% for c in "xyzw" %}
            part{{ r }} = fma(vec{{ tile_tokens }}<f32>(w{{ r }}.{{ c }}), inputs_{{ c }}, part{{ r }});
            {% endfor %}
            {% endfor %}
        }
        workgroupBarrier();
        {% endfor %}
        {% for r in range(tile_rows) %}
        sum{{ r }} += part{{ r }};
        {% endfor %}
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
