// Sampling, second pass: the best key; how many tokens lie at which distance from it, and their weights at temperature 1. Sums
// of integers, so that their order does not matter.
{% include "sample.wgsl" %}

@group(0) @binding(3) var<storage, read> keys: array<u32>;        // [rows, vocab]
@group(0) @binding(4) var<storage, read_write> work: array<Work>; // [rows]

{% include "sample_bins.wgsl" %}
{% include "sample_tokens.wgsl" %}

var<workgroup> row_best: atomic<u32>;
var<workgroup> row_best_shared: u32;

// The largest key of the row; BANNED if every token is.
fn best_of_row(row: u32, local: u32) -> u32 {
    if (local == 0u) {
        atomicStore(&row_best, BANNED);
    }
    workgroupBarrier();
    var own = BANNED;
    for (var chunk = local; chunk < params.chunks; chunk += WORKGROUP) {
        own = max(own, work[row].chunks[chunk].best);
    }
    if (own != BANNED) {
        atomicMax(&row_best, own);
    }
    workgroupBarrier();
    if (local == 0u) {
        row_best_shared = atomicLoad(&row_best);
    }
    return workgroupUniformLoad(&row_best_shared);
}

@compute @workgroup_size({{ workgroup }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let chunk = workgroup.x;
    let row = workgroup.y;
    if (row >= rows.count) {
        return;
    }
    let setting = settings[row];
    let four = four_tokens(row, chunk * BINS + local, min((chunk + 1u) * BINS, params.vocab));
    if (is_greedy(setting) && !wants_logprob(setting)) {
        return;
    }
    clear_bins(local);
    let best = best_of_row(row, local);
    if (chunk == 0u && local == 0u) {
        work[row].best = best;
    }
    if (!is_cut(setting) && !wants_logprob(setting)) {
        return;
    }
    for (var i = 0u; i < four.count; i++) {
        let key = four.keys[i];
        if (key != BANNED) {
            let distance = fixed_point(distance_of(key, best), LOG2_E);
            add_to_bin(bin_of(distance), weight_of(distance));
        }
    }
    workgroupBarrier();
    for (var bin = local; bin < BINS; bin += WORKGROUP) {
        let count = atomicLoad(&counts[bin]);
        if (count > 0u) {
            let low = atomicLoad(&lows[bin]);
            atomicAdd(&work[row].counts[bin], count);
            let old = atomicAdd(&work[row].lows[bin], low);
            atomicAdd(&work[row].highs[bin], atomicLoad(&highs[bin]) + u32(old + low < old));
        }
    }
}
