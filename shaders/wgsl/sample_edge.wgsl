// The exact place where a filter cuts: bins are divided until one token is left.

// A token is kept if its key is larger than the edge's, or equal with a token no larger.
struct Edge {
    key: u32,
    token: u32,
    through: Tally, // all that is kept
}

// Four levels for the bits of a key, two for those of a token.
const MAX_LEVELS = (32u + BIN_BITS - 1u) / BIN_BITS + 2u;

var<workgroup> least_position: atomic<u32>;
var<workgroup> most_position: atomic<u32>;
var<workgroup> span_shared: vec2<u32>;

fn tally_of(row: u32, bin: u32) -> Tally {
    return Tally(atomicLoad(&counts[bin]), atomicLoad(&lows[bin]), atomicLoad(&highs[bin]));
}

// The list or, where it had no room, the vocabulary.
fn candidates(row: u32) -> u32 {
    return select(work[row].listed, params.vocab, work[row].listed > MAX_LISTED);
}

// Key and token.
fn candidate(row: u32, index: u32) -> vec2<u32> {
    if (work[row].listed > MAX_LISTED) {
        return vec2<u32>(keys[row * params.vocab + index], index);
    }
    return work[row].list[index];
}

fn bin_of_key(key: u32, best: u32) -> u32 {
    return bin_of(fixed_point(distance_of(key, best), LOG2_E));
}

// The first and the last position in the order of sampling, which is that of inverted keys, in the bins.
fn span_of(row: u32, local: u32, best: u32, first_bin: u32, last_bin: u32) -> vec2<u32> {
    if (local == 0u) {
        atomicStore(&least_position, MOST);
        atomicStore(&most_position, 0u);
    }
    workgroupBarrier();
    for (var i = local; i < candidates(row); i += WORKGROUP) {
        let key = candidate(row, i).x;
        let bin = bin_of_key(key, best);
        if (key != BANNED && bin >= first_bin && bin <= last_bin) {
            atomicMin(&least_position, ~key);
            atomicMax(&most_position, ~key);
        }
    }
    workgroupBarrier();
    if (local == 0u) {
        span_shared = vec2<u32>(atomicLoad(&least_position), atomicLoad(&most_position));
    }
    return workgroupUniformLoad(&span_shared);
}

// The last token within the limit: one in these bins, before which lies `start`.
fn edge_in(row: u32, local: u32, best: u32, first_bin: u32, last_bin: u32, start: Tally, limit: Tally) -> Edge {
    var span = span_of(row, local, best, first_bin, last_bin);
    var before = start;
    var among_equals = false;
    var key = 0u;
    for (var level = 0u; level < MAX_LEVELS; level++) {
        let shift = max(32u - countLeadingZeros(span.y - span.x), BIN_BITS) - BIN_BITS;
        clear_bins(local);
        for (var i = local; i < candidates(row); i += WORKGROUP) {
            let found = candidate(row, i);
            let position = select(~found.x, found.y, among_equals);
            let is_equal = !among_equals || found.x == key;
            if (is_equal && position >= span.x && position <= span.y) {
                let distance = fixed_point(distance_of(found.x, best), LOG2_E);
                add_to_bin((position - span.x) >> shift, weight_of(distance));
            }
        }
        workgroupBarrier();
        let cut = cut_at(row, local, scan_bins(row, local, before), limit);
        before = cut.before;
        span.x += cut.bin << shift;
        span.y = min(span.y, span.x + (1u << shift) - 1u);
        if (cut.within.count == 1u) {
            before = both(before, cut.within);
            break;
        }
        if (shift == 0u) { // several tokens of one key
            among_equals = true;
            key = ~span.x;
            span = vec2<u32>(0u, params.vocab - 1u);
        }
    }
    if (among_equals) {
        return Edge(key, span.y, before);
    }
    return Edge(~span.y, NO_TOKEN, before);
}

fn is_within(key: u32, token: u32, edge: Edge) -> bool {
    return key > edge.key || (key == edge.key && token <= edge.token);
}
