// Scale and minimum of sub-block `index` (0 to 7) of a Q4_K or Q5_K block, whose first 16 bytes are `header`: two
// halves d and dmin, then twelve bytes s. Below 4 the six-bit numbers are s[index] and s[index + 4]; from 4 on their
// low four bits are the nibbles of s[index + 4], their high two bits the top bits of s[index - 4] and s[index].
fn scale_and_minimum(header: vec4<u32>, index: u32) -> vec2<f32> {
    let both = scales_and_minima(header, index & 6u);
    return select(both.xy, both.zw, (index & 1u) == 1u) * halves_to_floats(header.x);
}

// The six-bit numbers alone: scale and minimum of an even sub-block, then of the next.
fn scales_and_minima(header: vec4<u32>, even: u32) -> vec4<f32> {
    let both = six_bit_numbers(header, even);
    return vec4<f32>(vec4<u32>(both & vec2<u32>(0xffu), both >> vec2<u32>(8u)));
}

// The scales of an even sub-block and of the next in two bytes, then their minima.
fn six_bit_numbers(header: vec4<u32>, even: u32) -> vec2<u32> {
    let s = header.yzw >> vec3<u32>(8u * (even & 2u));
    let low = s.xy & vec2<u32>(0x3f3fu);
    let high = (vec2<u32>(s.z, s.z >> 4u) & vec2<u32>(0x0f0fu)) | ((s.xy >> vec2<u32>(2u)) & vec2<u32>(0x3030u));
    return select(high, low, even < 4u);
}

// The product of 64 weights with numbers whose products with the quants of the two sub-blocks are `dots` and whose sums
// there are `sums`.
fn scaled_pair(header: vec4<u32>, even: u32, dots: vec2<f32>, sums: vec2<f32>) -> f32 {
    let factors = scales_and_minima(header, even);
    let unscaled = vec2<f32>(dot(factors.xz, dots), -dot(factors.yw, sums));
    return dot(unscaled, halves_to_floats(header.x));
}
