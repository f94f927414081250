// Where along the bins a limit is reached. `tally_of` says what is in a bin.
const MOST = 0xffffffffu;
const BINS_A_LANE = BINS / WORKGROUP;
const LANES_A_GROUP = 16u;

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

var<workgroup> of_lanes: array<Tally, WORKGROUP>;
var<workgroup> of_groups: array<Tally, WORKGROUP / LANES_A_GROUP>;
var<workgroup> found_cut: Cut;

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

// Each invocation has a few bins in a row. `start` lies before the first of all.
fn scan_bins(row: u32, local: u32, start: Tally) -> Scan {
    var own = Tally(0u, 0u, 0u);
    for (var i = 0u; i < BINS_A_LANE; i++) {
        own = both(own, tally_of(row, local * BINS_A_LANE + i));
    }
    workgroupBarrier(); // the last ones have been read
    of_lanes[local] = own;
    workgroupBarrier();
    if (local < WORKGROUP / LANES_A_GROUP) {
        var sum = Tally(0u, 0u, 0u);
        for (var i = 0u; i < LANES_A_GROUP; i++) {
            sum = both(sum, of_lanes[local * LANES_A_GROUP + i]);
        }
        of_groups[local] = sum;
    }
    workgroupBarrier();
    let group = local / LANES_A_GROUP;
    var before = start;
    for (var i = 0u; i < group; i++) {
        before = both(before, of_groups[i]);
    }
    var all = before;
    for (var i = group; i < WORKGROUP / LANES_A_GROUP; i++) {
        all = both(all, of_groups[i]);
    }
    for (var i = group * LANES_A_GROUP; i < local; i++) {
        before = both(before, of_lanes[i]);
    }
    return Scan(before, all);
}

// Something must lie within the limit.
fn cut_at(row: u32, local: u32, scan: Scan, limit: Tally) -> Cut {
    var before = scan.before;
    for (var i = 0u; i < BINS_A_LANE; i++) {
        let bin = local * BINS_A_LANE + i;
        let own = tally_of(row, bin);
        let through = both(before, own);
        let is_last = through.count == scan.all.count || !goes_on(through, limit);
        if (own.count > 0u && goes_on(before, limit) && is_last) {
            found_cut = Cut(bin, before, own);
        }
        before = through;
    }
    return workgroupUniformLoad(&found_cut);
}

// The mass that top-p wants of the mass of all that it chooses from: rounded up, as one less would not do.
fn wanted_of(mass: vec2<u32>, top_p: u32) -> vec2<u32> {
    return fraction_of(mass, top_p, vec2<u32>(MOST, 0u));
}
