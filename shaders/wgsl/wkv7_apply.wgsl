// The chunked recurrence, second part: takes the state through the prepared chunks. Twin: twins::wkv7_chunked.
//   U = P S^T + Q        Y = E S^T + F        S = S D(decay) + U^T B + V^T K
// Rows of S do not need one another: a workgroup has 16 of a head's, and goes from chunk to chunk. An invocation keeps two
// rows of a vec4 of S in registers. For the products with S^T it takes two tokens of U or Y and two rows of S, from workgroup
// memory; the operands of the next step are on their way meanwhile.
{% include "wkv7_chunked.wgsl" %}
@group(0) @binding(2) var<storage, read> mixed: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>; // [heads, 64 values, 64 keys]
@group(0) @binding(4) var<storage, read_write> y: array<vec2<f32>>; // [tokens, width]
@group(0) @binding(5) var<storage, read> prepared: array<vec4<f32>>;

const PADDED = 17u; // vec4s of a row in workgroup memory: the padding spreads the rows over the banks

var<workgroup> operands: array<vec4<f32>, 32u * PADDED>;  // P and E, then B and K
var<workgroup> state_rows: array<vec4<f32>, 16u * PADDED>;
var<workgroup> changes: array<vec4<f32>, CHUNK * 8u>; // of each token, for two rows of S: two of U, two of V

fn total(value: vec4<f32>) -> f32 {
    return (value.x + value.y) + (value.z + value.w);
}

fn half_of(value: vec4<f32>, second: bool) -> vec2<f32> {
    return select(value.xy, value.zw, second);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = workgroup.x;
    let first_row = workgroup.y * 16u;
    // Two rows of a vec4 of S
    let row = local / 16u * 2u;
    let column = local % 16u;
    let state_at = (head * 64u + first_row + row) * 16u + column;
    var s0 = state[state_at];
    var s1 = state[state_at + 16u];
    // Two tokens of two columns of U (which = 0) or Y (which = 1)
    let which = local / 64u;
    let pair = local / 8u % 8u;
    let token = local % 8u;
    let value = head * 16u + (first_row + pair * 2u) / 4u;
    let second = pair % 2u == 1u;

    {% for n in range(4) %}
    let place{{ n }} = (local + {{ n * 128 }}u) / 16u * PADDED + column;
    var next{{ n }} = prepared[item_at(0u, head) + P_AND_E + local + {{ n * 128 }}u];
    {% endfor %}
    let chunks = (rows.count + CHUNK - 1u) / CHUNK;
    for (var chunk = 0u; chunk < chunks; chunk++) {
        let item = item_at(chunk, head);
        {% for n in range(4) %}
        operands[place{{ n }}] = next{{ n }};
        {% endfor %}
        state_rows[row * PADDED + column] = s0;
        state_rows[(row + 1u) * PADDED + column] = s1;
        workgroupBarrier();

        {% for n in range(4) %}
        next{{ n }} = prepared[item + B_AND_K + local + {{ n * 128 }}u];
        {% endfor %}
        let decay = prepared[item + TOTAL_DECAY + column];
        {% for i in range(2) %}
        let token{{ i }} = token + {{ i * 8 }}u;
        let at{{ i }} = chunk * CHUNK + token{{ i }};
        let own{{ i }} = half_of(prepared[item + Q_AND_F + which * MATRIX + token{{ i }} * 16u + value % 16u], second);
        let v{{ i }} = half_of(mixed[mixed_at(params.value_slot, min(at{{ i }}, rows.count - 1u), value)], second);
        var dot{{ i }}0 = vec4<f32>();
        var dot{{ i }}1 = vec4<f32>();
        {% endfor %}
        let operand_row = (which * CHUNK + token) * PADDED;
        let state_row = pair * 2u * PADDED;
        for (var c = 0u; c < 16u; c++) {
            let row0 = state_rows[state_row + c];
            let row1 = state_rows[state_row + PADDED + c];
            {% for i in range(2) %}
            let operand{{ i }} = operands[operand_row + {{ i * 8 }}u * PADDED + c];
            dot{{ i }}0 = fma(operand{{ i }}, row0, dot{{ i }}0);
            dot{{ i }}1 = fma(operand{{ i }}, row1, dot{{ i }}1);
            {% endfor %}
        }
        {% for i in range(2) %}
        let sum{{ i }} = vec2<f32>(total(dot{{ i }}0), total(dot{{ i }}1)) + own{{ i }};
        if (which == 0u) {
            // For a token beyond the last K is 0, and so is U; V is some other token's, and finite.
            changes[token{{ i }} * 8u + pair] = vec4<f32>(sum{{ i }}, v{{ i }});
        } else if (at{{ i }} < rows.count) {
            y[(at{{ i }} * params.width + value) * 2u + pair % 2u] = sum{{ i }};
        }
        {% endfor %}
        workgroupBarrier(); // P and E have been read

        {% for n in range(4) %}
        operands[place{{ n }}] = next{{ n }};
        {% endfor %}
        workgroupBarrier();
        let next_item = item_at(min(chunk + 1u, chunks - 1u), head);
        {% for n in range(4) %}
        next{{ n }} = prepared[next_item + P_AND_E + local + {{ n * 128 }}u];
        {% endfor %}
        s0 *= decay;
        s1 *= decay;
        for (var t = 0u; t < CHUNK; t++) {
            let b = operands[t * PADDED + column];
            let k = operands[(CHUNK + t) * PADDED + column];
            let change = changes[t * 8u + row / 2u];
            s0 = fma(vec4<f32>(change.x), b, fma(vec4<f32>(change.z), k, s0));
            s1 = fma(vec4<f32>(change.y), b, fma(vec4<f32>(change.w), k, s1));
        }
        workgroupBarrier(); // B, K and changes have been read
    }
    state[state_at] = s0;
    state[state_at + 16u] = s1;
}
