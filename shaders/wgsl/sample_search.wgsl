// Finds the last token within a limit: bins divide the tokens in question until one is left.

// A token is within the edge if its key is larger than the edge's, or equal with an id no larger.
struct Edge {
    key: u32,
    token: u32,
}

const EVERYTHING = Edge(BANNED + 1u, NO_TOKEN);

struct Row {
    index: u32,
    best: u32,   // its largest key
    listed: u32, // its candidates, also those that the list had no room for
}

// Which tokens are in question, how they are weighed, and where the limit is.
struct Search {
    is_draw: bool,     // in the order of ids; else in that of filters: large keys first, equal ones by their ids
    bins: vec2<u32>,   // the first and the last of distances; what a draw finds before them is in the chunks' sums
    edge: Edge,        // only what is within it,
    reach: f32,        // and no further from the best
    sharpness: f32,
    before: Tally,     // what lies before the first token
    limit: Tally,      // a draw finds its own
}

// What is left of a search after some rounds.
struct Rest {
    by_id: bool,       // positions are ids; else inverted keys
    span: vec2<u32>,   // the first and the last position
    bins: vec2<u32>,
    most_key: u32,
    edge: Edge,
    before: Tally,
}

// Which bin of a round a token belongs into, BINS if it is not in question, and what it weighs.
struct Share {
    bin: u32,
    weight: vec2<u32>,
}

struct Found {
    last: Edge,
    through: Tally,    // all up to the last token, and it
}

// Four rounds for the bits of a key, two for those of an id.
const MAX_ROUNDS = (32u + BIN_BITS - 1u) / BIN_BITS + 2u;
const ALL_IDS = vec2<u32>(0u, BINS * BINS - 1u);
const NATS_A_BIN = f32(1u << (32u - BIN_BITS)) / 67108864.0 / LOG2_E;

fn is_within(key: u32, token: u32, edge: Edge) -> bool {
    return key > edge.key || (key == edge.key && token <= edge.token);
}

// The inverted keys between which these bins' tokens lie, and a few more on both sides, so that no rounding leaves one out.
fn span_of(best: u32, bins: vec2<u32>) -> vec2<u32> {
    let nearest = f32(bins.x) * (0.99999 * NATS_A_BIN);
    let furthest = f32(bins.y + 1u) * (1.00001 * NATS_A_BIN);
    let least = select(logit_of(best) - furthest, -LARGEST_FLOAT, bins.y + 1u == BINS);
    return ~vec2<u32>(key_of(logit_of(best) - nearest), key_of(max(least, -LARGEST_FLOAT)));
}

// Whether the candidates are those of the list, which else had no room; then they are the vocabulary.
fn is_in_list(row: Row) -> bool {
    return row.listed <= MAX_LISTED;
}

fn count_of_candidates(row: Row) -> u32 {
    return select(params.vocab, row.listed, is_in_list(row));
}

// Key and token at a place of the list or else of the vocabulary; banned from `end` on.
fn found_at(row: Row, in_list: bool, place: u32, end: u32) -> vec2<u32> {
    let at = min(place, end - 1u);
    var found: vec2<u32>;
    if (in_list) {
        found = work[row.index].list[at];
    } else {
        found = vec2<u32>(keys[row.index * params.vocab + at], at);
    }
    return vec2<u32>(select(BANNED, found.x, place < end), found.y);
}

// Where a bin is: those that one invocation takes are apart, as memory serves neighbours at once.
fn slot_of(bin: u32) -> u32 {
    return bin % 4u * WORKGROUP + bin / 4u;
}

// What is in the bin, which is left empty.
fn take_bin(slot: u32) -> Tally {
    let taken = Tally(atomicLoad(&counts[slot]), atomicLoad(&lows[slot]), atomicLoad(&highs[slot]));
    clear_bin(slot);
    return taken;
}

fn take_bins(local: u32) -> Bins {
    let a = take_bin(local);
    let b = take_bin(WORKGROUP + local);
    let c = take_bin(2u * WORKGROUP + local);
    let d = take_bin(3u * WORKGROUP + local);
    return Bins(
        vec4<u32>(a.count, b.count, c.count, d.count),
        vec4<u32>(a.low, b.low, c.low, d.low),
        vec4<u32>(a.high, b.high, c.high, d.high),
    );
}

// What the pass before added up of each chunk.
fn add_chunks(row: Row, local: u32) {
    for (var chunk = local; chunk < params.chunks; chunk += WORKGROUP) {
        let kept = vec2<u32>(work[row.index].chunks[chunk].kept_low, work[row.index].chunks[chunk].kept_high);
        add_to_bin(slot_of(chunk), kept);
    }
}

fn share_of(row: Row, search: Search, rest: Rest, shift: u32, found: vec2<u32>) -> Share {
    let distance = distance_of(found.x, row.best);
    let bin = bin_of(fixed_point(distance, LOG2_E));
    let position = select(~found.x, found.y, rest.by_id);
    let is_in_question = position >= rest.span.x && position <= rest.span.y
        && bin >= rest.bins.x && bin <= rest.bins.y && distance <= search.reach
        && found.x <= rest.most_key && is_within(found.x, found.y, rest.edge);
    let weight = weight_of(fixed_point(distance, search.sharpness));
    return Share(select(BINS, (position - rest.span.x) >> shift, is_in_question), weight);
}

fn add_share(share: Share) {
    if (share.bin < BINS) {
        add_to_bin(slot_of(share.bin), share.weight);
    }
}

fn add_tokens(row: Row, local: u32, search: Search, rest: Rest, shift: u32) {
    let of_chunk = search.is_draw && shift == 0u;
    let in_list = !of_chunk && is_in_list(row);
    let first = select(0u, rest.span.x, of_chunk);
    let end = select(count_of_candidates(row), min(rest.span.y + 1u, params.vocab), of_chunk);
    // Two at once: one alone would wait for memory and for itself.
    for (var place = first + local; place < end; place += 2u * WORKGROUP) {
        let a = found_at(row, in_list, place, end);
        let b = found_at(row, in_list, place + WORKGROUP, end);
        let share_of_a = share_of(row, search, rest, shift, a);
        let share_of_b = share_of(row, search, rest, shift, b);
        add_share(share_of_a);
        add_share(share_of_b);
    }
}

// A random place in the sum of all weights.
fn limit_of_draw(setting: Setting, step: u32, all: vec2<u32>) -> Tally {
    let random = philox(setting.seed, vec4<u32>(step, 0u, 0u, 0u));
    let place = fraction_of(all, random.y, fraction_of(all, random.x, vec2<u32>()));
    let through = wide_sum(place, vec2<u32>(1u, 0u));
    return Tally(MOST, through.x, through.y);
}

// The last token within the limit. A draw's first round is of chunks, its second of one chunk's tokens.
fn find(row: Row, local: u32, setting: Setting, step: u32, search: Search) -> Found {
    var rest = Rest(search.is_draw, ALL_IDS, search.bins, MOST, search.edge, search.before);
    if (!search.is_draw) {
        rest.span = span_of(row.best, search.bins);
    }
    var limit = search.limit;
    for (var round = 0u; round < MAX_ROUNDS; round++) {
        let shift = max(32u - countLeadingZeros(rest.span.y - rest.span.x), BIN_BITS) - BIN_BITS;
        let of_chunks = search.is_draw && shift > 0u;
        if (of_chunks) {
            add_chunks(row, local);
        }
        add_tokens(row, local, search, rest, shift);
        workgroupBarrier();
        let bins = take_bins(local);
        let scan = scan_bins(local, bins, rest.before);
        if (of_chunks) {
            limit = limit_of_draw(setting, step, mass_of(scan.all));
        }
        let cut = cut_at(local, bins, scan, limit);
        rest.before = cut.before;
        rest.span.x += cut.bin << shift;
        rest.span.y = min(rest.span.y, rest.span.x + (1u << shift) - 1u);
        if (of_chunks) {
            rest.bins.x = 0u; // now each of the chunk's tokens is looked at
        } else if (search.is_draw || cut.within.count == 1u) {
            rest.before = both(cut.before, cut.within);
            break;
        } else if (shift == 0u) { // several tokens of one key
            rest.by_id = true;
            rest.most_key = ~rest.span.x;
            rest.edge.key = rest.most_key;
            rest.span = ALL_IDS;
        }
    }
    if (rest.by_id) {
        return Found(Edge(rest.edge.key, rest.span.y), rest.before);
    }
    return Found(Edge(~rest.span.y, NO_TOKEN), rest.before);
}
