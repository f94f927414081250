// Tokens and their keys, four an invocation: all are asked for at once, as each takes long to come.
struct Four {
    count: u32,        // that there are
    tokens: vec4<u32>,
    keys: vec4<u32>,
}

// An invocation has every WORKGROUP-th.
const FOUR_STEPS = vec4<u32>(0u, WORKGROUP, 2u * WORKGROUP, 3u * WORKGROUP);

fn count_of_four(first: u32, end: u32) -> u32 {
    return min((max(end, first) - first + WORKGROUP - 1u) / WORKGROUP, 4u);
}

// The invocation's next ones from token `first` on.
fn four_tokens(row: u32, first: u32, end: u32) -> Four {
    let tokens = first + FOUR_STEPS;
    let at = row * params.vocab + min(tokens, vec4<u32>(params.vocab - 1u));
    let found = vec4<u32>(keys[at.x], keys[at.y], keys[at.z], keys[at.w]);
    return Four(count_of_four(first, end), tokens, found);
}
