// Bins in workgroup memory: how many tokens are in each, and the sum of their weights.
var<workgroup> counts: array<atomic<u32>, BINS>;
var<workgroup> lows: array<atomic<u32>, BINS>;
var<workgroup> highs: array<atomic<u32>, BINS>;

fn clear_bins(local: u32) {
    for (var bin = local; bin < BINS; bin += WORKGROUP) {
        clear_bin(bin);
    }
}

fn clear_bin(bin: u32) {
    atomicStore(&counts[bin], 0u);
    atomicStore(&lows[bin], 0u);
    atomicStore(&highs[bin], 0u);
}

fn add_to_bin(bin: u32, weight: vec2<u32>) {
    atomicAdd(&counts[bin], 1u);
    let old = atomicAdd(&lows[bin], weight.x);
    atomicAdd(&highs[bin], weight.y + u32(old + weight.x < old));
}
