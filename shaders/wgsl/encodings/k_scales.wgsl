// Scale and minimum of sub-block `index` (0 to 7) of a Q4_K or Q5_K block, whose first 16 bytes are `header`: two
// halves d and dmin, then twelve bytes s. Below 4 the six-bit numbers are s[index] and s[index + 4]; from 4 on their
// low four bits are the nibbles of s[index + 4], their high two bits the top bits of s[index - 4] and s[index].
// Made for an even index and the next at once, two bytes side by side: who asks for both has the work done once.
fn scale_and_minimum(header: vec4<u32>, index: u32) -> vec2<f32> {
    let s = header.yzw >> vec3<u32>(8u * (index & 2u));
    let low = s.xy & vec2<u32>(0x3f3fu);
    let high = (vec2<u32>(s.z, s.z >> 4u) & vec2<u32>(0x0f0fu)) | ((s.xy >> vec2<u32>(2u)) & vec2<u32>(0x3030u));
    let both = select(high, low, index < 4u);
    let factors = vec2<f32>((both >> vec2<u32>(8u * (index & 1u))) & vec2<u32>(0xffu));
    return factors * halves_to_floats(header.x);
}
