// What the kernels of sampling share: settings, scratch memory, keys and weights. Twin: twins::sample.
{% include "rows.wgsl" %}
{% include "wide.wgsl" %}

const WORKGROUP = {{ workgroup }}u;
const BIN_BITS = {{ bin_bits }}u;
// As many bins of distances from the best token as tokens in a chunk and chunks in the largest row.
const BINS = 1u << BIN_BITS;
const MAX_LISTED = {{ max_listed }}u;

const BANNED = 0u;                // the key of a banned token; every other is larger
const NO_TOKEN = 0xffffffffu;
const LARGEST_FLOAT = 0x1.fffffep127f;
const LOG2_E = 1.44269504088896341f;

struct Params {
    vocab: u32,
    chunks: u32, // of a row
}

struct Setting {
    slot: u32,
    flags: u32,
    seed: vec2<u32>,
    sharpness: f32,    // log2(e) / temperature
    top_k: u32,        // 0: all
    top_p: u32,        // in units of 2^-32; 0: all
    reach: f32,        // the furthest below the best logit
    presence: f32,
    frequency: f32,
    decay: f32,
    top_logprobs: u32,
    first_bias: u32,
    bias_count: u32,
    guessed: u32,      // tokens before the row that are guesses
    padding: u32,
}

// So many tokens, and the sum of their weights at temperature 1.
struct Tally {
    count: u32,
    low: u32,
    high: u32,
}

struct Chunk {
    best: u32,          // its largest key,
    best_token: u32,    // and the lowest token that has it
    broken: u32,        // its lowest token whose logit is not finite
    kept_low: u32,      // the weights, at the row's temperature, of what is kept for certain
    kept_high: u32,
}

// Where in the bins the filters cut.
struct Cuts {
    all: Tally,
    top_k_bin: u32,          // the bin of the last token within top-k,
    before_top_k: Tally,     // and what lies before the bin
    first_open: u32,         // the bins that hold the last kept token: bins before are kept, bins behind are not
    last_open: u32,
    before_open: Tally,
    top_logprobs_bin: u32,   // the bin of the last token whose log-probability is wanted
}

// Scratch memory of a row.
struct Work {
    listed: {{ listed }},    // candidates, also those that the list had no room for
    best: u32,               // the largest key; BANNED if every token is
    cuts: Cuts,
    padding: u32,            // for the bins to begin at a whole vec4
    chunks: array<Chunk, BINS>,
    counts: {{ bins }},
    lows: {{ bins }},
    highs: {{ bins }},
    list: array<vec2<u32>, MAX_LISTED>, // key and token of those in bins that are cut
}

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> settings: array<Setting>; // [rows]

fn is_greedy(setting: Setting) -> bool {
    return (setting.flags & 1u) != 0u;
}

fn wants_logprob(setting: Setting) -> bool {
    return (setting.flags & 2u) != 0u;
}

// Whether top-k or top-p cuts somewhere.
fn is_cut(setting: Setting) -> bool {
    return !is_greedy(setting) && (setting.top_k | setting.top_p) != 0u;
}

// An integer that orders finite numbers as they are. Subnormal numbers and both zeros are one.
fn key_of(logit: f32) -> u32 {
    let bits = bitcast<u32>(logit);
    if ((bits & 0x7fffffffu) < 0x00800000u) {
        return 0x80000000u;
    }
    return select(bits ^ 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn logit_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key ^ 0x80000000u, (key >> 31u) == 1u));
}

fn distance_of(key: u32, best: u32) -> f32 {
    return min(logit_of(best) - logit_of(key), LARGEST_FLOAT);
}

// A distance in units of 2^-26, after multiplication with the sharpness.
fn fixed_point(distance: f32, sharpness: f32) -> u32 {
    return u32(min(distance * sharpness, 0x1.fffffep5f) * 67108864.0);
}

// The bin of a fixed-point distance at temperature 1.
fn bin_of(distance: u32) -> u32 {
    return distance >> (32u - BIN_BITS);
}

fn times(a: u32, b: u32) -> u32 {
    return wide_product(a, b).y;
}

// 2^43 times 2^-distance.
fn weight_of(distance: u32) -> vec2<u32> {
    let x = distance << 6u;
    var series = 19769301u - times(2029165u, x);
    series = 118750173u - times(series, x);
    series = 515782929u - times(series, x);
    series = 1488514807u - times(series, x);
    let power = 0x80000000u - times(series, x);
    let shift = distance >> 26u;
    if (shift < 12u) {
        return vec2<u32>(power << (12u - shift), (power >> 20u) >> shift);
    }
    return vec2<u32>(select(power >> min(shift - 12u, 31u), 0u, shift >= 44u), 0u);
}
