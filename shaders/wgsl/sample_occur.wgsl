// Counts a token that was chosen for a slot.
fn count(setting: Setting, token: u32) {
    let first = setting.slot * (1u + params.vocab);
    let now = occurrences[first].step + 1u;
    occurrences[first].step = now;
    occurrences[first + 1u + token] = counted(occurrences[first + 1u + token], setting.decay, now);
}
