// Sampling of guesses, last pass, an invocation a sequence: counts what was chosen after its rows for as long as each row had read
// what was chosen before it.
{% include "sample.wgsl" %}
{% include "sample_count.wgsl" %}

{% include "replays.wgsl" %}
@group(0) @binding(3) var<storage, read> replays: array<Replay>;
@group(0) @binding(4) var<storage, read> tokens: array<u32>;              // [rows]: what they read
@group(0) @binding(5) var<storage, read> chosen: array<u32>;              // [rows]
@group(0) @binding(6) var<storage, read_write> occurrences: array<Count>; // [slots, 1 + vocab]

{% include "sample_occur.wgsl" %}

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>) {
    let replay = replays[workgroup.x];
    let end = replay.first + replay.count;
    for (var row = replay.first; row < end; row++) {
        let token = chosen[row];
        if (token == NO_TOKEN) {
            return;
        }
        count(settings[row], token);
        if (row + 1u < end && tokens[row + 1u] != token) {
            return;
        }
    }
}
