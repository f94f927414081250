// Weights of integers as 16-bit floats, in half the instructions that it takes by way of 32-bit ones: a byte put into the
// mantissa of 1024 adds itself to it, exactly, and two such numbers share a word. Factors are rounded to 16 bits, which moves a
// weight no further than rounding itself may move one as far from zero as the farthest of its sixteen, as quants are
// centred before.
{% set middle = centre if centre > 0 else 128 %}
// What weights are multiplied by, as their factors, unlike themselves, may be subnormal. A power of two, to be taken back.
const WEIGHT_SCALE = 64.0;

// Sixteen weights times WEIGHT_SCALE, four consecutive columns a vec4.
fn half_weights(packed: Packed, span: u32, half: u32) -> array<vec4<f16>, 4> {
    {% if centre > 0 %}
    let quants = quants(packed, span, half);
    {% else %}
    let quants = quants(packed, span, half) ^ vec4<u32>(0x80808080u); // signed bytes, 128 more
    {% endif %}
    let factors = factors(packed, span, half) * WEIGHT_SCALE;
    let scale = vec2<f16>(f16(factors.x));
    let offset = vec2<f16>(f16(factors.y{% if centre > 0 %} + {{ centre }}.0 * factors.x{% endif %}));
    return array(
        four_weights(quants.x, scale, offset),
        four_weights(quants.y, scale, offset),
        four_weights(quants.z, scale, offset),
        four_weights(quants.w, scale, offset),
    );
}

fn four_weights(quants: u32, scale: vec2<f16>, offset: vec2<f16>) -> vec4<f16> {
    let even = two_weights(quants, scale, offset);
    let odd = two_weights(quants >> 8u, scale, offset);
    return vec4<f16>(even.x, odd.x, even.y, odd.y);
}

// Of the first and the third byte.
fn two_weights(bytes: u32, scale: vec2<f16>, offset: vec2<f16>) -> vec2<f16> {
    let placed = (bytes & 0x00ff00ffu) | 0x64006400u; // twice the bits of 1024
    return fma(vec2<f16>(unpack2x16float(placed)) - vec2<f16>({{ 1024 + middle }}.0h), scale, offset);
}
