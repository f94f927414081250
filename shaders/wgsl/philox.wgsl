// Philox4x32 with 10 rounds: random bits as a function of key and counter. Salmon, Moraes, Dror, Shaw: Parallel random
// numbers: as easy as 1, 2, 3 (SC 2011). Twin: twins::philox.
fn philox(key: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
    var state = counter;
    var round_key = key;
    for (var round = 0u; round < 10u; round++) {
        let first = wide_product(0xd2511f53u, state.x);
        let second = wide_product(0xcd9e8d57u, state.z);
        state = vec4<u32>(second.y ^ state.y ^ round_key.x, second.x, first.y ^ state.w ^ round_key.y, first.x);
        round_key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return state;
}
