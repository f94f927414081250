// Scale and minimum of sub-block `index` (0 to 7) of a Q4_K or Q5_K block, whose first 16 bytes are `header`: two
// halves d and dmin, then twelve bytes s. Below 4 the six-bit numbers are s[index] and s[index + 4]; from 4 on their
// low four bits are the nibbles of s[index + 4], their high two bits the top bits of s[index - 4] and s[index].
fn scale_and_minimum(header: vec4<u32>, index: u32) -> vec2<f32> {
    let shift = 8u * (index & 3u);
    let s = (header.yzw >> vec3<u32>(shift)) & vec3<u32>(0xffu);
    let low = s.xy & vec2<u32>(63u);
    let high = vec2<u32>(s.z & 15u, s.z >> 4u) | ((s.xy >> vec2<u32>(6u)) << vec2<u32>(4u));
    let factors = vec2<f32>(select(high, low, index < 4u));
    return factors * vec2<f32>(half_to_float(header.x), half_to_float(header.x >> 16u));
}
