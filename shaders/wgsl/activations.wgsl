const DECAY_SCALE = -0.6065306597126334; // -exp(-1/2)

// Both bound their argument where the result no longer changes, as shader languages allow an overflow to give anything.
fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp(-clamp(x, vec4<f32>(-80.0), vec4<f32>(80.0))));
}

fn bounded_tanh(x: vec4<f32>) -> vec4<f32> {
    return tanh(clamp(x, vec4<f32>(-15.0), vec4<f32>(15.0)));
}
