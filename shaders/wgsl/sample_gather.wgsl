// Sampling, third pass: finds the bins in which the filters cut, adds up what is kept for certain, and lists what is not
// certain.
{% include "sample.wgsl" %}

@group(0) @binding(3) var<storage, read> keys: array<u32>;        // [rows, vocab]
@group(0) @binding(4) var<storage, read_write> work: array<Work>; // [rows]

var<workgroup> kept_low: atomic<u32>;
var<workgroup> kept_high: atomic<u32>;

{% include "sample_best.wgsl" %}
{% include "sample_cut.wgsl" %}

fn tally_of(row: u32, bin: u32) -> Tally {
    return Tally(work[row].counts[bin], work[row].lows[bin], work[row].highs[bin]);
}

fn cuts_of(setting: Setting, row: u32, local: u32) -> Cuts {
    var cuts = Cuts();
    cuts.top_k_bin = BINS; // none
    cuts.first_open = BINS;
    if (!is_cut(setting) && !wants_logprob(setting)) {
        return cuts;
    }
    let scan = scan_bins(row, local, Tally(0u, 0u, 0u));
    cuts.all = scan.all;
    if (setting.top_logprobs > 0u) {
        cuts.top_logprobs_bin = cut_at(row, local, scan, Tally(setting.top_logprobs, MOST, MOST)).bin;
    }
    if (!is_cut(setting)) {
        return cuts;
    }
    let most_tokens = select(setting.top_k, MOST, setting.top_k == 0u);
    var first = cut_at(row, local, scan, Tally(most_tokens, MOST, MOST));
    var last = first;
    if (setting.top_p > 0u) {
        // What top-k leaves weighs something between these: between all bins but its last, and all; never nothing.
        var least = mass_of(scan.all);
        let most = mass_of(both(first.before, first.within));
        if (setting.top_k > 0u) {
            cuts.top_k_bin = first.bin;
            cuts.before_top_k = first.before;
            least = vec2<u32>(max(first.before.low, 1u), first.before.high);
        }
        let least_wanted = wanted_of(least, setting.top_p);
        let most_wanted = wanted_of(most, setting.top_p);
        first = cut_at(row, local, scan, Tally(most_tokens, least_wanted.x, least_wanted.y));
        last = cut_at(row, local, scan, Tally(most_tokens, most_wanted.x, most_wanted.y));
    }
    cuts.first_open = first.bin;
    cuts.last_open = last.bin;
    cuts.before_open = first.before;
    return cuts;
}

// Whether the last pass must look at each of the bin's tokens.
fn is_listed(setting: Setting, cuts: Cuts, bin: u32) -> bool {
    return bin == cuts.top_k_bin
        || (bin >= cuts.first_open && bin <= cuts.last_open)
        || (setting.top_logprobs > 0u && bin <= cuts.top_logprobs_bin);
}

@compute @workgroup_size({{ workgroup }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let chunk = workgroup.x;
    let row = workgroup.y;
    if (row >= rows.count) {
        return;
    }
    let setting = settings[row];
    if (is_greedy(setting) && !wants_logprob(setting)) {
        return;
    }
    let best = best_of_row(row, local);
    if (best == BANNED) {
        return;
    }
    if (local == 0u) {
        atomicStore(&kept_low, 0u);
        atomicStore(&kept_high, 0u);
    }
    let cuts = cuts_of(setting, row, local);
    workgroupBarrier();
    var kept = vec2<u32>();
    let end = min((chunk + 1u) * BINS, params.vocab);
    for (var token = chunk * BINS + local; token < end; token += WORKGROUP) {
        let key = keys[row * params.vocab + token];
        if (key != BANNED) {
            let distance = distance_of(key, best);
            let bin = bin_of(fixed_point(distance, LOG2_E));
            if (bin < cuts.first_open && distance <= setting.reach) {
                kept = wide_sum(kept, weight_of(fixed_point(distance, setting.sharpness)));
            }
            if (is_listed(setting, cuts, bin)) {
                let at = atomicAdd(&work[row].listed, 1u);
                if (at < MAX_LISTED) {
                    work[row].list[at] = vec2<u32>(key, token);
                }
            }
        }
    }
    let old = atomicAdd(&kept_low, kept.x);
    atomicAdd(&kept_high, kept.y + u32(old + kept.x < old));
    workgroupBarrier();
    if (local == 0u) {
        work[row].chunks[chunk].kept_low = atomicLoad(&kept_low);
        work[row].chunks[chunk].kept_high = atomicLoad(&kept_high);
        if (chunk == 0u) {
            work[row].cuts = cuts;
        }
    }
}
