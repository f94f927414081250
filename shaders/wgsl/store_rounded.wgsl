// Stores sixteen rounded numbers, those of `half` in a row of whole spans that begins at word `first` of out. A span takes
// three vec4s: the integers of both halves, then both steps and sums.
fn store_rounded(first: u32, half: u32, sixteen: Rounded) {
    let span = first + 12u * (half >> 1u);
    {% for c in range(4) %}
    out[span + 4u * (half & 1u) + {{ c }}u] = sixteen.integers[{{ c }}];
    {% endfor %}
    let steps = bitcast<vec2<u32>>(sixteen.step_and_sum);
    out[span + 8u + 2u * (half & 1u)] = steps.x;
    out[span + 9u + 2u * (half & 1u)] = steps.y;
}
