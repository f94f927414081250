// Sampling, third pass: finds the bins in which the filters cut, adds up what is kept for certain, and lists what is not
// certain.
{% include "sample.wgsl" %}

@group(0) @binding(3) var<storage, read> keys: array<u32>;        // [rows, vocab]
@group(0) @binding(4) var<storage, read_write> work: array<Work>; // [rows]

var<workgroup> kept_low: atomic<u32>;
var<workgroup> kept_high: atomic<u32>;
var<workgroup> listed: atomic<u32>;
var<workgroup> first_listed: u32; // where the workgroup's part of the list begins

{% include "sample_tokens.wgsl" %}
{% include "sample_cut.wgsl" %}

fn cuts_of(setting: Setting, local: u32, bins: Bins) -> Cuts {
    var cuts = Cuts();
    cuts.top_k_bin = BINS; // none
    cuts.first_open = BINS;
    if (!is_cut(setting) && !wants_logprob(setting)) {
        return cuts;
    }
    let scan = scan_bins(local, bins, Tally());
    cuts.all = scan.all;
    if (setting.top_logprobs > 0u) {
        cuts.top_logprobs_bin = cut_at(local, bins, scan, Tally(setting.top_logprobs, MOST, MOST)).bin;
    }
    // What top-k leaves weighs something between these: between all bins but its last, and all; never nothing.
    var least = mass_of(scan.all);
    var most = least;
    var most_tokens = MOST;
    if (setting.top_k > 0u) {
        most_tokens = setting.top_k;
        let cut = cut_at(local, bins, scan, Tally(most_tokens, MOST, MOST));
        least = vec2<u32>(max(cut.before.low, 1u), cut.before.high);
        most = mass_of(both(cut.before, cut.within));
        cuts.top_k_bin = cut.bin;
        cuts.before_top_k = cut.before;
        cuts.first_open = cut.bin;
        cuts.last_open = cut.bin;
        cuts.before_open = cut.before;
    }
    if (setting.top_p > 0u) {
        let wanted = wanted_of(least, setting.top_p);
        let cut = cut_at(local, bins, scan, Tally(most_tokens, wanted.x, wanted.y));
        cuts.first_open = cut.bin;
        cuts.last_open = cut.bin;
        cuts.before_open = cut.before;
    }
    if (setting.top_p > 0u && setting.top_k > 0u) {
        let wanted = wanted_of(most, setting.top_p);
        cuts.last_open = cut_at(local, bins, scan, Tally(most_tokens, wanted.x, wanted.y)).bin;
    }
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
    let best = work[row].best;
    let bins = Bins(work[row].counts[local], work[row].lows[local], work[row].highs[local]);
    let four = four_tokens(row, chunk * BINS + local, min((chunk + 1u) * BINS, params.vocab));
    if (is_greedy(setting) && !wants_logprob(setting)) {
        return;
    }
    if (local == 0u) {
        atomicStore(&kept_low, 0u);
        atomicStore(&kept_high, 0u);
        atomicStore(&listed, 0u);
    }
    workgroupBarrier();
    let cuts = cuts_of(setting, local, bins);
    var kept = vec2<u32>();
    var own_listed = 0u; // a bit each
    for (var i = 0u; i < four.count; i++) {
        let key = four.keys[i];
        if (key != BANNED) {
            let distance = distance_of(key, best);
            let bin = bin_of(fixed_point(distance, LOG2_E));
            if (bin < cuts.first_open && distance <= setting.reach) {
                kept = wide_sum(kept, weight_of(fixed_point(distance, setting.sharpness)));
            }
            own_listed |= u32(is_listed(setting, cuts, bin)) << i;
        }
    }
    if (any(kept != vec2<u32>())) {
        let old = atomicAdd(&kept_low, kept.x);
        atomicAdd(&kept_high, kept.y + u32(old + kept.x < old));
    }
    // The list's end is one place for all: a workgroup asks for room once, not each of its tokens.
    var at = 0u;
    if (own_listed != 0u) {
        at = atomicAdd(&listed, countOneBits(own_listed));
    }
    workgroupBarrier();
    if (local == 0u) {
        let count = atomicLoad(&listed);
        if (count > 0u) {
            first_listed = atomicAdd(&work[row].listed, count);
        }
        work[row].chunks[chunk].kept_low = atomicLoad(&kept_low);
        work[row].chunks[chunk].kept_high = atomicLoad(&kept_high);
        if (chunk == 0u) {
            work[row].cuts = cuts;
        }
    }
    workgroupBarrier();
    at += first_listed;
    for (var i = 0u; i < four.count; i++) {
        if (((own_listed >> i) & 1u) == 1u) {
            if (at < MAX_LISTED) {
                work[row].list[at] = vec2<u32>(four.keys[i], four.tokens[i]);
            }
            at++;
        }
    }
}
