// What sixteen columns x are rounded by, so that they become integers of magnitude `largest_integer` at most: the
// reciprocal of their common step, and the step. Twin: twins::quantise.
fn rounding(x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>, largest_integer: f32) -> vec2<f32> {
    {% for c in range(4) %}
    let bits{{ c }} = bitcast<vec4<u32>>(x{{ c }}) & vec4<u32>(0x7fffffffu);
    {% endfor %}
    // The largest magnitude, found among integers, where what is not a number is largest and so shows in the result.
    let bits = max(max(bits0, bits1), max(bits2, bits3));
    let largest = bitcast<f32>(max(max(bits.x, bits.y), max(bits.z, bits.w)));
    let inverse = select(largest_integer / largest, 0.0, largest < 1e-30);
    // Division may be a few units off, the same way for all 16; one step of Newton's makes this the reciprocal.
    let quotient = largest / largest_integer;
    let step = fma(quotient, fma(-quotient, inverse, 1.0), quotient);
    return vec2<f32>(inverse, step);
}
