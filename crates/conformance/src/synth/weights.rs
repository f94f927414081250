//! How each tensor's weights are spread.

/// Mean and standard deviation of a tensor's elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) mean: f32,
    pub(super) deviation: f32,
}

/// Vectors get what training tends to make of them; matrices keep the size of what passes through them.
pub(super) fn spread(name: &str, shape: &[u64]) -> Spread {
    let part = name
        .rsplit_once('.')
        .map_or(name, |(stem, _)| stem)
        .rsplit('.')
        .next()
        .unwrap_or(name);
    let is_bias = name.ends_with(".bias");
    let fan_in = |gain: f32| (0.0, gain / (shape[0] as f32).sqrt());
    let (mean, deviation) = match part {
        _ if is_bias => (0.0, 0.1),
        "token_embd" => (0.0, 0.02),
        "token_embd_norm" | "output_norm" | "attn_norm" | "attn_norm_2" => (1.0, 0.1),
        "time_mix_ln" => (1.0, 0.2),
        "time_mix_lerp_fused" | "channel_mix_lerp_k" => (0.5, 0.289),
        "time_mix_w0" => (-2.5, 2.0),
        "time_mix_a0" => (0.0, 0.5),
        "time_mix_v0" => (0.3, 0.5),
        "time_mix_k_k" => (0.85, 0.2),
        "time_mix_k_a" => (1.0, 0.15),
        "time_mix_r_k" => (0.0, 0.15),
        "output" => fan_in(2.0),
        "time_mix_w1" | "time_mix_output" => fan_in(0.7),
        "channel_mix_value" => fan_in(0.6),
        _ => fan_in(1.0),
    };
    Spread { mean, deviation }
}
