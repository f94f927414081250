// Whether the driver keeps subnormal halves when it unpacks them. Whoever compiles the kernel finds out.
override SUBNORMAL_HALVES: bool = false;

// The half-precision number in the low 16 bits of `bits`. A driver may flush subnormal halves to zero when it unpacks
// them; those are built from their integer then. Block scales of Q4_K and Q6_K are subnormal in real files.
fn half_to_float(bits: u32) -> f32 {
    let unpacked = unpack2x16float(bits & 0xffffu).x;
    if (SUBNORMAL_HALVES) {
        return unpacked;
    }
    let magnitude = f32(bits & 0x3ffu) * 0x1p-24f;
    let subnormal = select(magnitude, -magnitude, (bits & 0x8000u) != 0u);
    return select(unpacked, subnormal, (bits & 0x7c00u) == 0u);
}

// Both halves of a word, the one in the low bits first.
fn halves_to_floats(bits: u32) -> vec2<f32> {
    if (SUBNORMAL_HALVES) {
        return unpack2x16float(bits);
    }
    return vec2<f32>(half_to_float(bits), half_to_float(bits >> 16u));
}

// Half number `index` of `words`, the first in the low bits of `words.x`.
fn half_at(words: vec4<u32>, index: u32) -> f32 {
    return half_to_float(words[index >> 1u] >> (16u * (index & 1u)));
}
