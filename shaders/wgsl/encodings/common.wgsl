// 16 weights of consecutive columns: scale * quants + offset.
struct Sixteen {
    scale: f32,
    offset: f32,
    quants: mat4x4<f32>,
}

// The lowest bits of four bytes a word, as numbers: word i gives column i.
fn unsigned_bytes(words: vec4<u32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        vec4<f32>(unpack4xU8(words.x)),
        vec4<f32>(unpack4xU8(words.y)),
        vec4<f32>(unpack4xU8(words.z)),
        vec4<f32>(unpack4xU8(words.w)),
    );
}

// 1 + n / 16 for the low (half 0) or high nibbles n of a word's bytes, the lowest byte first: a nibble in the topmost bits
// of a float's mantissa. Conversions from integers are slower on many devices.
fn one_and_sixteenths(word: u32, half: u32) -> vec4<f32> {
    var placed = vec4<u32>(word << 19u, word << 11u, word << 3u, word >> 5u);
    if (half == 1u) {
        placed = vec4<u32>(word << 15u, word << 7u, word >> 1u, word >> 9u);
    }
    return bitcast<vec4<f32>>((placed & vec4<u32>(0x00780000u)) | vec4<u32>(0x3f800000u));
}

// 1 + n / 64 for the numbers n below 64 in a word's bytes, in the same way.
fn one_and_sixty_fourths(word: u32) -> vec4<f32> {
    let placed = vec4<u32>(word << 17u, word << 9u, word << 1u, word >> 7u);
    return bitcast<vec4<f32>>((placed & vec4<u32>(0x007e0000u)) | vec4<u32>(0x3f800000u));
}
