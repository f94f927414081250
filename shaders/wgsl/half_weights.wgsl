// Weights of integers as 16-bit floats, in half the instructions that it takes by way of 32-bit ones: a byte put into the
// mantissa of 1024 adds itself to it, exactly, and two such numbers share a word. Factors are rounded to 16 bits. That moves a
// weight by as much as rounding would move the largest of its sixteen, and by no more, because quants are centred before: an
// offset near zero is rounded finely.
{% set middle = centre if centre > 0 else 128 %}
{% set most = 2 * middle - 1 %}
// What weights are multiplied by, as their factors may be subnormal where they themselves are not, which a driver may flush. A
// power of two, which sums are divided by exactly; weights beyond 1,023 become infinite, which the guard on the logits sees.
const WEIGHT_SCALE = 64.0;

struct HalfFactors {
    scale: vec2<f16>,
    offset: vec2<f16>,
}

// What makes weights times WEIGHT_SCALE of centred quants.
fn half_factors(packed: Packed{{ suffix }}, span: u32, half: u32) -> HalfFactors {
    let factors = factors{{ suffix }}(packed, span, half) * WEIGHT_SCALE;
    return HalfFactors(vec2<f16>(f16(factors.x)), vec2<f16>(f16(factors.y{% if centre > 0 %} + {{ centre }}.0 * factors.x{% endif %})));
}

// Four weights times WEIGHT_SCALE, of the quants in the bytes of a word.
fn half_weights(quants: u32, factors: HalfFactors) -> vec4<f16> {
    {% if centre > 0 %}
    let bytes = quants;
    {% else %}
    let bytes = quants ^ 0x80808080u; // they have a sign; 128 more have none
    {% endif %}
    let even = two_weights(bytes, factors);
    let odd = two_weights(bytes >> 8u, factors);
    return vec4<f16>(even.x, odd.x, even.y, odd.y);
}

// Of the first and the third byte.
fn two_weights(bytes: u32, factors: HalfFactors) -> vec2<f16> {
    // No more bits than quants have, so that a compiler can leave out the mask of nibbles before it; and twice the bits of 1024.
    let placed = (bytes & {{ most * 65537 }}u) | 0x64006400u;
    return fma(vec2<f16>(unpack2x16float(placed)) - vec2<f16>({{ 1024 + middle }}.0h), factors.scale, factors.offset);
}
