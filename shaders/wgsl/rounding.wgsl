// Sixteen numbers as 8-bit integers times a common step. Twin: twins::quantise.
struct Rounded {
    integers: vec4<u32>,     // the first in the lowest byte of x
    step_and_sum: vec2<f32>, // the sum of all sixteen rounded numbers
}

const LARGEST_INTEGER = 127.0;

fn rounded(x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>) -> Rounded {
    {% for c in range(4) %}
    let bits{{ c }} = bitcast<vec4<u32>>(x{{ c }}) & vec4<u32>(0x7fffffffu);
    {% endfor %}
    // The largest magnitude, found among integers, where what is not a number is largest and so shows in the result.
    let bits = max(max(bits0, bits1), max(bits2, bits3));
    let largest = bitcast<f32>(max(max(bits.x, bits.y), max(bits.z, bits.w)));
    let inverse = select(LARGEST_INTEGER / largest, 0.0, largest < 1e-30);
    // Division may be a few units off, the same way for all 16; one step of Newton's makes this the reciprocal.
    let quotient = largest / LARGEST_INTEGER;
    let step = fma(quotient, fma(-quotient, inverse, 1.0), quotient);
    {% for c in range(4) %}
    let n{{ c }} = vec4<i32>(round(x{{ c }} * inverse));
    {% endfor %}
    let n = (n0 + n1) + (n2 + n3);
    let sum = step * f32((n.x + n.y) + (n.z + n.w));
    return Rounded(vec4<u32>(pack4xI8(n0), pack4xI8(n1), pack4xI8(n2), pack4xI8(n3)), vec2<f32>(step, sum));
}

// The product of sixteen quants with the integers of sixteen numbers.
fn dot_sixteen(quants: vec4<u32>, integers: vec4<u32>) -> i32 {
    return dot4I8Packed(quants.x, integers.x) + dot4I8Packed(quants.y, integers.y)
        + dot4I8Packed(quants.z, integers.z) + dot4I8Packed(quants.w, integers.w);
}
