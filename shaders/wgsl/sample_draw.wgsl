// Sampling, last pass, a workgroup a row: finds the last kept token, draws, counts, and reports.
{% include "sample.wgsl" %}
{% include "philox.wgsl" %}
{% include "sample_count.wgsl" %}

const MAX_TOP = {{ max_top }}u;

struct Logprob {
    token: u32,
    logprob: f32,
}

struct Report {
    status: u32,
    token: u32,
    logprob: f32,
    top_count: u32,
    top: array<Logprob, MAX_TOP>,
}

const CHOSEN = 0u;
const NOT_FINITE = 1u;
const NOTHING_ALLOWED = 2u;

@group(0) @binding(3) var<storage, read> keys: array<u32>;                  // [rows, vocab]
@group(0) @binding(4) var<storage, read> work: array<Work>;                 // [rows]
@group(0) @binding(5) var<storage, {{ "read" if guessed else "read_write" }}> occurrences: array<Count>;   // [slots, 1 + vocab]
@group(0) @binding(6) var<storage, read_write> tokens: array<u32>;          // [rows]
@group(0) @binding(7) var<storage, read_write> reports: array<Report>;      // [rows]

struct Best {
    key: u32,
    token: u32,
    broken: u32,
}

var<workgroup> best_key: atomic<u32>;
var<workgroup> best_token: atomic<u32>;
var<workgroup> broken: atomic<u32>;
var<workgroup> best_shared: Best;
var<workgroup> top_found: atomic<u32>;
var<workgroup> top: array<vec2<u32>, MAX_TOP>;

{% include "sample_bins.wgsl" %}
{% include "sample_cut.wgsl" %}
{% include "sample_edge.wgsl" %}

// The largest key of the row, the lowest token that has it, and the lowest token whose logit is not finite.
fn best_of_row(row: u32, local: u32) -> Best {
    if (local == 0u) {
        atomicStore(&best_key, BANNED);
        atomicStore(&best_token, NO_TOKEN);
        atomicStore(&broken, NO_TOKEN);
    }
    workgroupBarrier();
    for (var chunk = local; chunk < params.chunks; chunk += WORKGROUP) {
        atomicMax(&best_key, work[row].chunks[chunk].best);
        atomicMin(&broken, work[row].chunks[chunk].broken);
    }
    workgroupBarrier();
    for (var chunk = local; chunk < params.chunks; chunk += WORKGROUP) {
        if (work[row].chunks[chunk].best == atomicLoad(&best_key)) {
            atomicMin(&best_token, work[row].chunks[chunk].best_token);
        }
    }
    workgroupBarrier();
    if (local == 0u) {
        best_shared = Best(atomicLoad(&best_key), atomicLoad(&best_token), atomicLoad(&broken));
    }
    return workgroupUniformLoad(&best_shared);
}

// The last token that top-k and top-p keep.
fn edge_of(setting: Setting, row: u32, local: u32, best: u32) -> Edge {
    let cuts = work[row].cuts;
    var limit = Tally(select(setting.top_k, MOST, setting.top_k == 0u), MOST, MOST);
    if (setting.top_p > 0u) {
        var all = mass_of(cuts.all);
        if (setting.top_k > 0u) {
            let bin = cuts.top_k_bin;
            all = mass_of(edge_in(row, local, best, bin, bin, cuts.before_top_k, limit).through);
        }
        let wanted = wanted_of(all, setting.top_p);
        limit = Tally(limit.count, wanted.x, wanted.y);
    }
    return edge_in(row, local, best, cuts.first_open, cuts.last_open, cuts.before_open, limit);
}

fn is_kept(setting: Setting, key: u32, token: u32, best: u32, edge: Edge) -> bool {
    return key != BANNED && is_within(key, token, edge) && distance_of(key, best) <= setting.reach;
}

fn drawing_weight(setting: Setting, key: u32, best: u32) -> vec2<u32> {
    return weight_of(fixed_point(distance_of(key, best), setting.sharpness));
}

// Fills the bins with the weight of what is kept of each chunk.
fn weigh_chunks(setting: Setting, row: u32, local: u32, best: u32, edge: Edge) {
    clear_bins(local);
    for (var chunk = local; chunk < params.chunks; chunk += WORKGROUP) {
        add_to_bin(chunk, vec2<u32>(work[row].chunks[chunk].kept_low, work[row].chunks[chunk].kept_high));
    }
    for (var i = local; i < candidates(row); i += WORKGROUP) {
        let found = candidate(row, i);
        let is_open = bin_of_key(found.x, best) >= work[row].cuts.first_open;
        if (is_open && is_kept(setting, found.x, found.y, best, edge)) {
            add_to_bin(found.y / BINS, drawing_weight(setting, found.x, best));
        }
    }
    workgroupBarrier();
}

// Fills the bins with the weights of the chunk's tokens.
fn weigh_tokens(setting: Setting, row: u32, chunk: u32, local: u32, best: u32, edge: Edge) {
    clear_bins(local);
    let end = min((chunk + 1u) * BINS, params.vocab);
    for (var token = chunk * BINS + local; token < end; token += WORKGROUP) {
        let key = keys[row * params.vocab + token];
        if (is_kept(setting, key, token, best, edge)) {
            add_to_bin(token % BINS, drawing_weight(setting, key, best));
        }
    }
    workgroupBarrier();
}

// The token at a random place in the sum of the weights, in the order of their ids.
fn draw(setting: Setting, row: u32, local: u32, best: u32, step: u32) -> u32 {
    var edge = Edge();
    if (is_cut(setting)) {
        edge = edge_of(setting, row, local, best);
    }
    weigh_chunks(setting, row, local, best, edge);
    let of_chunks = scan_bins(row, local, Tally());
    let all = mass_of(of_chunks.all);
    let random = philox(setting.seed, vec4<u32>(step, 0u, 0u, 0u));
    let place = fraction_of(all, random.y, fraction_of(all, random.x, vec2<u32>()));
    let through = wide_sum(place, vec2<u32>(1u, 0u));
    let limit = Tally(MOST, through.x, through.y);
    let chunk = cut_at(row, local, of_chunks, limit);
    weigh_tokens(setting, row, chunk.bin, local, best, edge);
    return chunk.bin * BINS + cut_at(row, local, scan_bins(row, local, chunk.before), limit).bin;
}

{% if not guessed %}
{% include "sample_occur.wgsl" %}
{% endif %}

// The log-probability of a token with this key, at temperature 1, of all that are not banned.
fn logprob_of(row: u32, key: u32, best: u32) -> f32 {
    let all = work[row].cuts.all;
    let in_best_weights = f32(all.high) * 0x1p-11f + f32(all.low) * 0x1p-43f;
    return -distance_of(key, best) - log(in_best_weights);
}

// Writes the most probable tokens in order.
fn report_top(setting: Setting, row: u32, local: u32, best: u32) {
    if (local == 0u) {
        atomicStore(&top_found, 0u);
    }
    let cuts = work[row].cuts;
    let limit = Tally(setting.top_logprobs, MOST, MOST);
    let edge = edge_in(row, local, best, 0u, cuts.top_logprobs_bin, Tally(), limit);
    for (var i = local; i < candidates(row); i += WORKGROUP) {
        let found = candidate(row, i);
        if (found.x != BANNED && is_within(found.x, found.y, edge)) {
            top[atomicAdd(&top_found, 1u)] = found;
        }
    }
    workgroupBarrier();
    let count = atomicLoad(&top_found);
    if (local < count) {
        let own = top[local];
        var rank = 0u;
        for (var i = 0u; i < count; i++) {
            let is_better = top[i].x > own.x || (top[i].x == own.x && top[i].y < own.y);
            rank += u32(is_better);
        }
        reports[row].top[rank] = Logprob(own.y, logprob_of(row, own.x, best));
    }
    if (local == 0u) {
        reports[row].top_count = count;
    }
}

fn report(row: u32, status: u32, token: u32, logprob: f32) {
    tokens[row] = select(NO_TOKEN, token, status == CHOSEN);
    reports[row].status = status;
    reports[row].token = token;
    reports[row].logprob = logprob;
    reports[row].top_count = 0u;
}

@compute @workgroup_size({{ workgroup }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = workgroup.x;
    if (row >= rows.count) {
        return;
    }
    let setting = settings[row];
    let best = best_of_row(row, local);
    if (best.broken != NO_TOKEN || best.key == BANNED) {
        if (local == 0u) {
            report(row, select(NOTHING_ALLOWED, NOT_FINITE, best.broken != NO_TOKEN), best.broken, 0.0);
        }
        return;
    }
    var token = best.token;
    if (!is_greedy(setting)) {
        let step = occurrences[setting.slot * (1u + params.vocab)].step{{ " + setting.guessed" if guessed else "" }};
        token = draw(setting, row, local, best.key, step);
    }
    if (local == 0u) {
        var logprob = 0.0;
        if (wants_logprob(setting)) {
            logprob = logprob_of(row, keys[row * params.vocab + token], best.key);
        }
        report(row, CHOSEN, token, logprob);
        {% if not guessed %}
        count(setting, token);
        {% endif %}
    }
    if (setting.top_logprobs > 0u) {
        report_top(setting, row, local, best.key);
    }
}
