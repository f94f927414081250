// Sampling, first pass: keys of the logits after biases and penalties, and the best of each chunk.
{% include "sample.wgsl" %}
{% include "sample_count.wgsl" %}

struct Bias {
    token: u32,
    bias: f32,
}

@group(0) @binding(3) var<storage, read> logits: array<f32>;        // [rows, vocab]
@group(0) @binding(4) var<storage, read> biases: array<Bias>;
@group(0) @binding(5) var<storage, read> counts: array<Count>;      // [slots, 1 + vocab]
@group(0) @binding(6) var<storage, read_write> keys: array<u32>;    // [rows, vocab]
@group(0) @binding(7) var<storage, read_write> work: array<Work>;   // [rows]
{% if guessed %}
@group(0) @binding(8) var<storage, read> tokens: array<u32>;        // [rows]: what they read
{% endif %}

var<workgroup> best: atomic<u32>;
var<workgroup> best_token: atomic<u32>;
var<workgroup> broken: atomic<u32>;

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) < 0x7f800000u;
}

fn within_floats(value: f32) -> f32 {
    return clamp(value, -LARGEST_FLOAT, LARGEST_FLOAT);
}

// Where in the row's biases the token's is, or where it would be.
fn bias_at(setting: Setting, token: u32) -> u32 {
    var first = setting.first_bias;
    var count = setting.bias_count;
    while (count > 0u) {
        let half = count / 2u;
        if (biases[first + half].token < token) {
            first += half + 1u;
            count -= half + 1u;
        } else {
            count = half;
        }
    }
    return first;
}

fn seen_of(setting: Setting, token: u32, now: u32{{ ", row: u32" if guessed else "" }}) -> Count {
    var seen = counts[setting.slot * (1u + params.vocab) + 1u + token];
    {% if guessed %}
    // The guesses before the row count as if they had been chosen.
    for (var i = 1u; i <= setting.guessed; i++) {
        if (tokens[row - setting.guessed + i] == token) {
            seen = counted(seen, setting.decay, now - setting.guessed + i);
        }
    }
    {% endif %}
    return seen;
}

fn penalty(setting: Setting, seen: Count, now: u32) -> f32 {
    let age = now - seen.step;
    if (seen.count <= 0.0 || (age > 0u && setting.decay <= 0.0)) {
        return 0.0;
    }
    let count = seen.count * power(setting.decay, age);
    return setting.presence + clamp(count * setting.frequency, -LARGEST_COUNT, LARGEST_COUNT);
}

fn key_after_changes(setting: Setting, token: u32, logit: f32, now: u32{{ ", row: u32" if guessed else "" }}) -> u32 {
    var score = logit;
    if (setting.bias_count > 0u) {
        let at = bias_at(setting, token);
        if (at < setting.first_bias + setting.bias_count && biases[at].token == token) {
            if (!is_finite(biases[at].bias)) {
                return BANNED;
            }
            score = within_floats(score + biases[at].bias);
        }
    }
    if (setting.presence != 0.0 || setting.frequency != 0.0) {
        let seen = seen_of(setting, token, now{{ ", row" if guessed else "" }});
        score = within_floats(score - penalty(setting, seen, now));
    }
    return key_of(score);
}

fn clear_histogram(row: u32, chunk: u32, local: u32) {
    for (var bin = chunk * WORKGROUP + local; bin < BINS; bin += params.chunks * WORKGROUP) {
        work[row].counts[bin] = 0u;
        work[row].lows[bin] = 0u;
        work[row].highs[bin] = 0u;
    }
}

@compute @workgroup_size({{ workgroup }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let chunk = workgroup.x;
    let row = workgroup.y;
    if (row >= rows.count) {
        return;
    }
    if (local == 0u) {
        atomicStore(&best, BANNED);
        atomicStore(&best_token, NO_TOKEN);
        atomicStore(&broken, NO_TOKEN);
    }
    clear_histogram(row, chunk, local);
    workgroupBarrier();

    let setting = settings[row];
    let now = counts[setting.slot * (1u + params.vocab)].step{{ " + setting.guessed" if guessed else "" }};
    let end = min((chunk + 1u) * BINS, params.vocab);
    var own_best = BANNED;
    var own_token = NO_TOKEN;
    for (var token = chunk * BINS + local; token < end; token += WORKGROUP) {
        let logit = logits[row * params.vocab + token];
        var key = BANNED;
        if (is_finite(logit)) {
            key = key_after_changes(setting, token, logit, now{{ ", row" if guessed else "" }});
        } else {
            atomicMin(&broken, token);
        }
        keys[row * params.vocab + token] = key;
        if (key > own_best) {
            own_best = key;
            own_token = token;
        }
    }
    atomicMax(&best, own_best);
    workgroupBarrier();
    if (own_best == atomicLoad(&best)) {
        atomicMin(&best_token, own_token);
    }
    workgroupBarrier();
    if (local == 0u) {
        let found = Chunk(atomicLoad(&best), atomicLoad(&best_token), atomicLoad(&broken), 0u, 0u);
        work[row].chunks[chunk] = found;
        if (chunk == 0u) {
            work[row].listed = 0u;
        }
    }
}
