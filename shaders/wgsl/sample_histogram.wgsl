// Sampling, second pass: how many tokens lie at which distance from the best, and their weights at temperature 1. Sums of
// integers, so that their order does not matter.
{% include "sample.wgsl" %}

@group(0) @binding(3) var<storage, read> keys: array<u32>;        // [rows, vocab]
@group(0) @binding(4) var<storage, read_write> work: array<Work>; // [rows]

{% include "sample_bins.wgsl" %}
{% include "sample_best.wgsl" %}

@compute @workgroup_size({{ workgroup }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let chunk = workgroup.x;
    let row = workgroup.y;
    if (row >= rows.count) {
        return;
    }
    let setting = settings[row];
    if (!is_cut(setting) && !wants_logprob(setting)) {
        return;
    }
    clear_bins(local);
    let best = best_of_row(row, local);
    let end = min((chunk + 1u) * BINS, params.vocab);
    for (var token = chunk * BINS + local; token < end; token += WORKGROUP) {
        let key = keys[row * params.vocab + token];
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
