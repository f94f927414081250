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
