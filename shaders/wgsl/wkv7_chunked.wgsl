// What the two kernels of the chunked recurrence share. The matrices of a chunk of a head, each [CHUNK, 64] but for the decay
// [64], follow one another in the buffer prepared, [chunks, heads, ITEM]; the names are those of twins::wkv7_chunked.
{% include "rows.wgsl" %}
{% include "time_mix.wgsl" %}
const CHUNK = {{ chunk }}u; // tokens; a last chunk with fewer is filled up with tokens that change nothing
// In vec4s, from the beginning of an item.
const P_AND_E = 0u; // U = P S^T + Q and Y = E S^T + F
const B_AND_K = {{ 2 * matrix }}u; // S after = S D(decay) + U^T B + V^T K
const Q_AND_F = {{ 4 * matrix }}u;
const TOTAL_DECAY = {{ 6 * matrix }}u;
const MATRIX = {{ matrix }}u;
const ITEM = {{ item }}u;

fn item_at(chunk: u32, head: u32) -> u32 {
    return (chunk * (params.width / 16u) + head) * ITEM;
}
