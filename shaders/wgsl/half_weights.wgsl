// Weights of integers as 16-bit floats, in half the instructions that it takes by way of 32-bit ones: bits put into the mantissa of
// 1024 add themselves to it, exactly, and two such numbers share a word.

// What weights are multiplied by, as their factors may be subnormal where they themselves are not, which a driver may flush. A
// power of two, which sums are divided by exactly; weights beyond 1,023 become infinite, which the guard on the logits sees.
const WEIGHT_SCALE = 64.0;

struct HalfFactors {
    scale: vec2<f16>,
    offset: vec2<f16>,
}

// The integers in the halves of a word, less {{ integers.middle }}. They have no more than ten bits.
fn half_integers(integers: u32) -> vec2<f16> {
    return vec2<f16>(unpack2x16float(integers | 0x64006400u)) - vec2<f16>({{ 1024 + integers.middle }}.0h); // the bits of 1024, twice
}

// What makes weights times WEIGHT_SCALE of integers.
fn half_factors(packed: Packed{{ suffix }}, span: u32, half: u32) -> HalfFactors {
    {% if integers.has_minima %}
    // Scale and minimum are each the product of six bits and a half, and rounded once. A weight moves by as much as rounding would
    // move the two numbers that it is the difference of.
    let numbers = six_bit_numbers(packed.header, span & 6u);
    let own = ((numbers.x | (numbers.y << 16u)) >> (8u * half)) & 0x003f003fu;
    let of_block = vec2<f16>(halves_to_floats(packed.header.x) * vec2<f32>(WEIGHT_SCALE, -WEIGHT_SCALE));
    let factors = half_integers(own) * of_block;
    {% if integers.in_place %}
    let scale = factors.x * select(1.0h, 0.0625h, half == 1u); // high nibbles are sixteen times what they stand for
    return HalfFactors(vec2<f16>(scale), factors.yy);
    {% else %}
    return HalfFactors(factors.xx, factors.yy);
    {% endif %}
    {% else %}
    // Integers are centred and offsets are zero, so that a weight moves by no more than rounding would move it.
    let scale = factors{{ suffix }}(packed, span, half).x * WEIGHT_SCALE;
    return HalfFactors(vec2<f16>(f16(scale)), vec2<f16>());
    {% endif %}
}

// The integers, a byte each; what else may be in their word is in other bits.
fn half_words(packed: Packed{{ suffix }}, span: u32, half: u32) -> vec4<u32> {
    {% if integers.in_place %}
    return packed.nibbles;
    {% elif integers.has_sign %}
    return quants{{ suffix }}(packed, span, half) ^ vec4<u32>(0x80808080u); // 128 more have none
    {% else %}
    return quants{{ suffix }}(packed, span, half);
    {% endif %}
}

// Four weights times WEIGHT_SCALE, of the integers in the bytes of a word.
fn half_weights(word: u32, half: u32, factors: HalfFactors) -> vec4<f16> {
    // No more bits than integers have, so that a compiler can leave out a mask before this one.
    let mask = {{ integers.mask * 65537 }}u{{ " << (4u * half)" if integers.in_place }};
    let even = fma(half_integers(word & mask), factors.scale, factors.offset);
    let odd = fma(half_integers((word >> 8u) & mask), factors.scale, factors.offset);
    return vec4<f16>(even.x, odd.x, even.y, odd.y);
}
