// The half-precision number in the low 16 bits of `bits`. A driver may flush subnormal halves to zero when it unpacks
// them, so those are built from their integer; block scales of Q4_K and Q6_K are subnormal in real files.
fn half_to_float(bits: u32) -> f32 {
    let magnitude = f32(bits & 0x3ffu) * 0x1p-24f;
    let subnormal = select(magnitude, -magnitude, (bits & 0x8000u) != 0u);
    return select(unpack2x16float(bits & 0xffffu).x, subnormal, (bits & 0x7c00u) == 0u);
}

// Half number `index` of `words`, the first in the low bits of `words.x`.
fn half_at(words: vec4<u32>, index: u32) -> f32 {
    return half_to_float(words[index >> 1u] >> (16u * (index & 1u)));
}
