// Where along the bins a limit is reached.
const MOST = 0xffffffffu;

// The four bins of an invocation, which lie in a row.
struct Bins {
    counts: vec4<u32>,
    lows: vec4<u32>,
    highs: vec4<u32>,
}

struct Scan {
    before: Tally, // what lies before the invocation's bins
    all: Tally,
}

// The last bin that holds something within a limit.
struct Cut {
    bin: u32,
    before: Tally,
    within: Tally,
}

var<workgroup> of_groups: array<Tally, WORKGROUP>; // where the last invocation of each group is
var<workgroup> found_cut: Cut;

fn tally_of(bins: Bins, i: u32) -> Tally {
    return Tally(bins.counts[i], bins.lows[i], bins.highs[i]);
}

fn mass_of(tally: Tally) -> vec2<u32> {
    return vec2<u32>(tally.low, tally.high);
}

fn both(a: Tally, b: Tally) -> Tally {
    let mass = wide_sum(mass_of(a), mass_of(b));
    return Tally(a.count + b.count, mass.x, mass.y);
}

// Whether what follows `before` is still within the limit.
fn goes_on(before: Tally, limit: Tally) -> bool {
    return before.count < limit.count && is_less(mass_of(before), mass_of(limit));
}

// The last of the 2^bits invocations of a group.
fn last_of(group: u32, bits: u32) -> u32 {
    return ((group + 1u) << bits) - 1u;
}

// `start` lies before the first bin of all. Groups of invocations grow fourfold a step. A step reads the sums of up to three
// groups before one's own, the next writes where every fourth was: which none has read, so that one barrier a step is enough.
fn scan_bins(local: u32, bins: Bins, start: Tally) -> Scan {
    var own = Tally();
    for (var i = 0u; i < 4u; i++) {
        own = both(own, tally_of(bins, i));
    }
    var before = Tally();
    for (var bits = 0u; (1u << bits) < WORKGROUP; bits += 2u) {
        let group = local >> bits;
        if (local == last_of(group, bits)) {
            of_groups[local] = both(before, own);
        }
        workgroupBarrier();
        for (var i = group & ~3u; i < group; i++) {
            before = both(before, of_groups[last_of(i, bits)]);
        }
    }
    var all = start;
    for (var i = 1u; i <= 4u; i++) {
        all = both(all, of_groups[i * (WORKGROUP / 4u) - 1u]);
    }
    return Scan(both(start, before), all);
}

// Something must lie within the limit.
fn cut_at(local: u32, bins: Bins, scan: Scan, limit: Tally) -> Cut {
    var before = scan.before;
    for (var i = 0u; i < 4u; i++) {
        let own = tally_of(bins, i);
        let through = both(before, own);
        let is_last = through.count == scan.all.count || !goes_on(through, limit);
        if (own.count > 0u && goes_on(before, limit) && is_last) {
            found_cut = Cut(4u * local + i, before, own);
        }
        before = through;
    }
    return workgroupUniformLoad(&found_cut);
}

// The mass that top-p wants of the mass of all that it chooses from: rounded up, as one less would not do.
fn wanted_of(mass: vec2<u32>, top_p: u32) -> vec2<u32> {
    return fraction_of(mass, top_p, vec2<u32>(MOST, 0u));
}
