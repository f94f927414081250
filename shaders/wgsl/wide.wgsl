// Unsigned integers of 64 bits, the low word first.

fn wide_sum(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + u32(low < a.x));
}

fn wide_difference(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

fn is_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let left = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let right = (a & 0xffffu) * (b >> 16u) + (left & 0xffffu);
    return vec2<u32>((right << 16u) | (low & 0xffffu), (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u));
}

// (a * fraction + carry) / 2^32, rounded down.
fn fraction_of(a: vec2<u32>, fraction: u32, carry: vec2<u32>) -> vec2<u32> {
    let of_low = wide_product(a.x, fraction);
    let carried = wide_sum(vec2<u32>(of_low.x, 0u), vec2<u32>(carry.x, 0u)).y;
    let sum = wide_sum(wide_product(a.y, fraction), vec2<u32>(of_low.y, 0u));
    return wide_sum(sum, wide_sum(vec2<u32>(carry.y, 0u), vec2<u32>(carried, 0u)));
}
