enable f16;
enable wgpu_cooperative_matrix;
// Matrix times many tokens on cooperative matrices: operands rounded to f16, sums in f32. A workgroup computes a tile of
// TILE_ROWS rows by TILE_TOKENS tokens, {{ steps }} spans of 32 columns at a time, which it decodes into workgroup memory. Its
// subgroups form a grid of {{ subgroup_rows }} (rows) by {{ subgroup_tokens }} (tokens); each holds {{ rows }} x {{ tokens }} matrices of sums. Twin: twins::matmul.
{% if halves_from is not none %}
// Jobs from the {{ halves_from }}. on have matrices in F16, whatever the others have.
{% endif %}
{% include "jobs.wgsl" %}
{% set suffix = "0" if halves_from is not none else "" %}
{% if integers %}
{% include "half_weights.wgsl" %}
{% endif %}
const SIZE = {{ size }}u; // of the square matrices
const TILE_ROWS = {{ subgroup_rows * rows * size }}u;
const TILE_TOKENS = {{ subgroup_tokens * tokens * size }}u;
const WORKGROUP = {{ subgroup_rows * subgroup_tokens * subgroup }}u;
const STEP = {{ steps * 8 }}u; // vec4s of a row's columns in a step
const STRIDE = STEP + 2u;      // vec4s from row to row of a tile: the gap spreads rows over the banks
{% set elements = 4 if size == 8 else 1 %}
const ELEMENTS = {{ elements }}u; // of a tile in a vec4: Metal, whose matrices are 8x8, loads them from scalars only

{% set element = "f16" if size == 8 else "vec4<f16>" %}
var<workgroup> weight_tile: array<{{ element }}, {{ elements * subgroup_rows * rows * size * (steps * 8 + 2) }}>; // [rows, columns]
var<workgroup> input_tile: array<{{ element }}, {{ elements * subgroup_tokens * tokens * size * (steps * 8 + 2) }}>; // [tokens, columns]
var<workgroup> sums: array<f32, {{ subgroup_rows * subgroup_tokens * size * size }}>; // a matrix of each subgroup: [tokens, rows]

{% set workgroup = subgroup_rows * subgroup_tokens * subgroup %}
{% set weight_loads = (subgroup_rows * rows * size * steps + workgroup - 1) // workgroup %}
{% set input_loads = subgroup_tokens * tokens * size * steps * 8 // workgroup %}
{% macro load() %}
        {% for l in range(weight_loads) %}
        {
            let i = local + {{ l * workgroup }}u;
            let row = job.weights + min(first_row + i / {{ steps }}u, job.rows - 1u) * job.weights_stride;
            let of_row = min(span + i % {{ steps }}u, job.spans - 1u);
            {% if halves_from is not none %}
            if (has_halves) {
                halves{{ l }} = fetch1(row, job.spans, of_row);
            } else {
                packed{{ l }} = fetch0(row, job.spans, of_row);
            }
            {% else %}
            packed{{ l }} = fetch(row, job.spans, of_row);
            {% endif %}
        }
        {% endfor %}
        {% for l in range(input_loads) %}
        {
            let i = local + {{ l * workgroup }}u;
            let token = min(first_token + i / STEP, rows.count - 1u);
            input{{ l }} = load_input(job, {{ "has_halves, " if halves_from is not none }}token, min(span + (i % STEP) / 8u, job.spans - 1u), i % 8u);
        }
        {% endfor %}
{% endmacro %}

{% for tile in ["weight_tile", "input_tile"] %}
// Vec4 `at` of the tile.
fn set_{{ tile }}(at: u32, value: vec4<f16>) {
    {% if size == 8 %}
    {% for c in range(4) %}
    {{ tile }}[4u * at + {{ c }}u] = value[{{ c }}];
    {% endfor %}
    {% else %}
    {{ tile }}[at] = value;
    {% endif %}
}

{% endfor %}
// vec4 `index` of a span's 32 columns of a token's input.
fn load_input(job: Job, {{ "has_halves: bool, " if halves_from is not none }}token: u32, span: u32, index: u32) -> vec4<f16> {
    var column = (first_column{{ suffix }}(span) + (index / 4u) * HALF_STRIDE{{ suffix }}) / 4u + index % 4u;
    {% if halves_from is not none %}
    column = select(column, (first_column1(span) + (index / 4u) * HALF_STRIDE1) / 4u + index % 4u, has_halves);
    {% endif %}
    return input[job.input + token * job.input_stride + column];
}

{# Decodes what load `l` has fetched into the tile. #}
{% macro decode(packed, suffix, integers) %}
                {% for half in range(2) %}
                {% if integers %}
                let scale_and_offset{{ half }} = half_factors({{ packed }}, of_span, {{ half }}u);
                let words{{ half }} = half_words({{ packed }}, of_span, {{ half }}u);
                {% else %}
                let sixteen{{ half }} = decode{{ suffix }}({{ packed }}, of_span, {{ half }}u);
                {% endif %}
                {% for c in range(4) %}
                set_weight_tile(at + {{ 4 * half + c }}u, {% if integers %}half_weights(words{{ half }}[{{ c }}], {{ half }}u, scale_and_offset{{ half }}){% else %}vec4<f16>(sixteen{{ half }}.quants[{{ c }}]){% endif %});
                {% endfor %}
                {% endfor %}
{% endmacro %}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let job = jobs[workgroup.z];
    {% if halves_from is not none %}
    let has_halves = workgroup.z >= {{ halves_from }}u;
    {% endif %}
    let first_row = workgroup.x * TILE_ROWS;
    let first_token = workgroup.y * TILE_TOKENS;
    if (first_row >= job.rows) { // two conditions apart: naga takes a short-circuit for non-uniform
        return;
    }
    if (first_token >= rows.count) {
        return;
    }
    let subgroup = local / {{ subgroup }}u;
    let lane = local % {{ subgroup }}u;
    let subgroup_row = (subgroup % {{ subgroup_rows }}u) * {{ rows * size }}u;
    let subgroup_token = (subgroup / {{ subgroup_rows }}u) * {{ tokens * size }}u;
    {% for r in range(rows) %}
    {% for t in range(tokens) %}
    var sum{{ r }}_{{ t }}: coop_mat{{ size }}x{{ size }}<f32, C>;
    {% endfor %}
    {% endfor %}
    {% for l in range(weight_loads) %}
    var packed{{ l }}: Packed{{ suffix }};
    {% if halves_from is not none %}
    var halves{{ l }}: Packed1;
    {% endif %}
    {% endfor %}
    {% for l in range(input_loads) %}
    var input{{ l }}: vec4<f16>;
    {% endfor %}

    var span = 0u;
    {{ load() }}
    while (span < job.spans) {
        {% for l in range(weight_loads) %}
        {
            let i = local + {{ l * workgroup }}u;
            {% if (l + 1) * workgroup > subgroup_rows * rows * size * steps %}
            if (i < TILE_ROWS * {{ steps }}u)
            {% endif %}
            {
                let at = (i / {{ steps }}u) * STRIDE + (i % {{ steps }}u) * 8u;
                let of_span = min(span + i % {{ steps }}u, job.spans - 1u);
                {% if halves_from is not none %}
                if (has_halves) {
{{ decode("halves" ~ l, "1", none) }}
                } else {
{{ decode("packed" ~ l, "0", integers) }}
                }
                {% else %}
{{ decode("packed" ~ l, "", integers) }}
                {% endif %}
            }
        }
        {% endfor %}
        {% for l in range(input_loads) %}
        {
            let i = local + {{ l * workgroup }}u;
            {% if steps > 1 %}
            let used = f16(span + (i % STEP) / 8u < job.spans); // columns beyond the last are zeros, whatever weights they meet
            {% endif %}
            set_input_tile((i / STEP) * STRIDE + i % STEP, {% if steps > 1 %}used * {% endif %}input{{ l }});
        }
        {% endfor %}
        workgroupBarrier();
        span += {{ steps }}u;
        {{ load() }}
        // Not unrolled: where weights stream through the caches, a kernel waits for each instruction that it has not met before.
        for (var column = 0u; column < STEP; column += SIZE / 4u) {
            {% for t in range(tokens) %}
            let x{{ t }} = coopLoad<coop_mat{{ size }}x{{ size }}<f16, B>>(&input_tile[ELEMENTS * ((subgroup_token + {{ t * size }}u) * STRIDE + column)], ELEMENTS * STRIDE);
            {% endfor %}
            {% for r in range(rows) %}
            let w{{ r }} = coopLoadT<coop_mat{{ size }}x{{ size }}<f16, A>>(&weight_tile[ELEMENTS * ((subgroup_row + {{ r * size }}u) * STRIDE + column)], ELEMENTS * STRIDE);
            {% for t in range(tokens) %}
            sum{{ r }}_{{ t }} = coopMultiplyAdd(w{{ r }}, x{{ t }}, sum{{ r }}_{{ t }});
            {% endfor %}
            {% endfor %}
        }
        workgroupBarrier(); // all have read the tiles
    }

    // One body for all matrices of sums, for the same reason.
    for (var matrix = 0u; matrix < {{ rows * tokens }}u; matrix++) {
        switch matrix {
            {% for r in range(rows) %}
            {% for t in range(tokens) %}
            case {{ r * tokens + t }}u: {
                coopStore(sum{{ r }}_{{ t }}, &sums[subgroup * SIZE * SIZE], SIZE);
            }
            {% endfor %}
            {% endfor %}
            default: {}
        }
        workgroupBarrier();
        let matrix_row = first_row + subgroup_row + matrix / {{ tokens }}u * SIZE;
        let matrix_token = first_token + subgroup_token + matrix % {{ tokens }}u * SIZE;
        for (var i = 4u * lane; i < SIZE * SIZE; i += {{ 4 * subgroup }}u) {
            store(job, {{ "has_halves, " if halves_from is not none }}matrix_token + i / SIZE, matrix_row + i % SIZE, subgroup * SIZE * SIZE + i);
        }
        workgroupBarrier();
    }
}

{% set unscaled = " * unscale" if integers else "" %}
// Stores four rows of a token, whose products begin at `at`, as far as there are such.
fn store(job: Job, {{ "has_halves: bool, " if halves_from is not none }}token: u32, row: u32, at: u32) {
    {% if halves_from is not none %}
    let unscale = select(1.0 / WEIGHT_SCALE, 1.0, has_halves);
    {% elif integers %}
    let unscale = 1.0 / WEIGHT_SCALE;
    {% endif %}
    if (token >= rows.count) {
        return;
    }
    if (row + 4u <= job.rows) {
        finish_four(job, token, row, vec4<f32>(sums[at], sums[at + 1u], sums[at + 2u], sums[at + 3u]){{ unscaled }});
        return;
    }
    for (var i = 0u; row + i < job.rows; i++) {
        finish(job, token, row + i, sums[at + i]{{ unscaled }});
    }
}
