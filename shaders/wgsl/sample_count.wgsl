// How often tokens occurred, and how that fades.
struct Count {
    count: f32, // when it last changed
    step: u32,  // and when that was
}

// What penalties and counts are kept within. It also stands between product and sum, which a driver may else round once.
const LARGEST_COUNT = 1e30f;

// By squaring: multiplications alone, which are the same everywhere.
fn power(of_base: f32, of_exponent: u32) -> f32 {
    var base = of_base;
    var exponent = of_exponent;
    var product = 1.0;
    while (exponent > 0u) {
        if ((exponent & 1u) == 1u) {
            product *= base;
        }
        base *= base;
        exponent >>= 1u;
    }
    return product;
}

// What was seen of a token, and the token once more, as the sequence's token `now`.
fn counted(seen: Count, decay: f32, now: u32) -> Count {
    let faded = min(seen.count * power(decay, now - seen.step), LARGEST_COUNT);
    return Count(faded + 1.0, now);
}
