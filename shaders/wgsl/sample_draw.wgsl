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
{% include "sample_search.wgsl" %}

// What is looked for, one after the other.
const LAST_OF_TOP_K = 0u;   // where top-p chooses from what it leaves
const LAST_OF_FILTERS = 1u;
const DRAWN = 2u;
const LAST_REPORTED = 3u;

// The largest key of the row, the lowest token that has it, and the lowest token whose logit is not finite.
fn best_of_row(row: u32, local: u32) -> Best {
    if (local == 0u) {
        atomicStore(&best_key, BANNED);
        atomicStore(&best_token, NO_TOKEN);
        atomicStore(&broken, NO_TOKEN);
    }
    workgroupBarrier();
    var own = Best(BANNED, NO_TOKEN, NO_TOKEN);
    for (var chunk = local; chunk < params.chunks; chunk += WORKGROUP) {
        let found = work[row].chunks[chunk];
        if (found.best > own.key) {
            own.key = found.best;
            own.token = found.best_token;
        }
        own.broken = min(own.broken, found.broken);
    }
    if (local < params.chunks) {
        atomicMax(&best_key, own.key);
    }
    if (own.broken != NO_TOKEN) {
        atomicMin(&broken, own.broken);
    }
    workgroupBarrier();
    if (own.key == atomicLoad(&best_key)) {
        atomicMin(&best_token, own.token);
    }
    workgroupBarrier();
    if (local == 0u) {
        best_shared = Best(atomicLoad(&best_key), atomicLoad(&best_token), atomicLoad(&broken));
    }
    return workgroupUniformLoad(&best_shared);
}

// Goals behind the row's last are never asked for.
fn is_wanted(goal: u32, setting: Setting) -> bool {
    switch (goal) {
        case LAST_OF_TOP_K: {
            return !is_greedy(setting) && setting.top_k > 0u && setting.top_p > 0u;
        }
        case LAST_OF_FILTERS: {
            return is_cut(setting);
        }
        case DRAWN: {
            return !is_greedy(setting);
        }
        default: {
            return true;
        }
    }
}

fn search_of_filter(first_bin: u32, last_bin: u32, before: Tally, limit: Tally) -> Search {
    return Search(false, vec2<u32>(first_bin, last_bin), EVERYTHING, LARGEST_FLOAT, LOG2_E, before, limit);
}

// `left` weighs what top-k leaves, `kept` is the last token of the filters.
fn search_of(goal: u32, setting: Setting, cuts: Cuts, left: vec2<u32>, kept: Edge) -> Search {
    let most_tokens = select(setting.top_k, MOST, setting.top_k == 0u);
    switch (goal) {
        case LAST_OF_TOP_K: {
            let limit = Tally(most_tokens, MOST, MOST);
            return search_of_filter(cuts.top_k_bin, cuts.top_k_bin, cuts.before_top_k, limit);
        }
        case LAST_OF_FILTERS: {
            let wanted = select(wanted_of(left, setting.top_p), vec2<u32>(MOST), setting.top_p == 0u);
            let limit = Tally(most_tokens, wanted.x, wanted.y);
            return search_of_filter(cuts.first_open, cuts.last_open, cuts.before_open, limit);
        }
        case DRAWN: {
            let bins = vec2<u32>(cuts.first_open, BINS - 1u);
            return Search(true, bins, kept, setting.reach, setting.sharpness, Tally(), Tally());
        }
        default: {
            let limit = Tally(setting.top_logprobs, MOST, MOST);
            return search_of_filter(0u, cuts.top_logprobs_bin, Tally(), limit);
        }
    }
}

{% if not guessed %}
{% include "sample_occur.wgsl" %}
{% endif %}

// The log-probability of a token with this key, at temperature 1, of all that are not banned.
fn logprob_of(cuts: Cuts, key: u32, best: u32) -> f32 {
    let in_best_weights = f32(cuts.all.high) * 0x1p-11f + f32(cuts.all.low) * 0x1p-43f;
    return -distance_of(key, best) - log(in_best_weights);
}

fn report(row: u32, status: u32, token: u32, logprob: f32) {
    tokens[row] = select(NO_TOKEN, token, status == CHOSEN);
    reports[row].status = status;
    reports[row].token = token;
    reports[row].logprob = logprob;
    reports[row].top_count = 0u;
}

// Writes the most probable tokens in order.
fn report_top(row: Row, local: u32, cuts: Cuts, last: Edge) {
    let end = count_of_candidates(row);
    for (var place = local; place < end; place += WORKGROUP) {
        let found = found_at(row, is_in_list(row), place, end);
        if (is_within(found.x, found.y, last)) {
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
        reports[row.index].top[rank] = Logprob(own.y, logprob_of(cuts, own.x, row.best));
    }
    if (local == 0u) {
        reports[row.index].top_count = count;
    }
}

@compute @workgroup_size({{ workgroup }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = workgroup.x;
    if (index >= rows.count) {
        return;
    }
    let setting = settings[index];
    let cuts = work[index].cuts;
    let listed = work[index].listed;
    let step = occurrences[setting.slot * (1u + params.vocab)].step{{ " + setting.guessed" if guessed else "" }};
    clear_bins(local);
    if (local == 0u) {
        atomicStore(&top_found, 0u);
    }
    let best = best_of_row(index, local);
    if (best.broken != NO_TOKEN || best.key == BANNED) {
        if (local == 0u) {
            report(index, select(NOTHING_ALLOWED, NOT_FINITE, best.broken != NO_TOKEN), best.broken, 0.0);
        }
        return;
    }
    let row = Row(index, best.key, listed);
    var token = best.token;
    var left = mass_of(cuts.all);
    var kept = EVERYTHING;
    var reported = EVERYTHING;
    // Code that runs for the first time waits for itself, so all searches share one place in it. That the last goal differs keeps
    // compilers from laying them out one behind the other.
    let last_goal = select(DRAWN, LAST_REPORTED, setting.top_logprobs > 0u);
    for (var goal = LAST_OF_TOP_K; goal <= last_goal; goal++) {
        if (!is_wanted(goal, setting)) {
            continue;
        }
        let found = find(row, local, setting, step, search_of(goal, setting, cuts, left, kept));
        switch (goal) {
            case LAST_OF_TOP_K: {
                left = mass_of(found.through);
            }
            case LAST_OF_FILTERS: {
                kept = found.last;
            }
            case DRAWN: {
                token = found.last.token;
            }
            default: {
                reported = found.last;
            }
        }
    }
    if (local == 0u) {
        var logprob = 0.0;
        if (wants_logprob(setting)) {
            logprob = logprob_of(cuts, keys[index * params.vocab + token], best.key);
        }
        report(index, CHOSEN, token, logprob);
        {% if not guessed %}
        count(setting, token);
        {% endif %}
    }
    if (setting.top_logprobs > 0u) {
        report_top(row, local, cuts, reported);
    }
}
