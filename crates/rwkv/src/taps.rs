//! Intermediate results of a forward pass, for comparing it with another implementation.

use std::collections::BTreeMap;

/// What the layers computed, by name. Each is `[tokens, width]`:
///
/// `layer_input`; `att_norm` (first layer norm); `r` `w` `k` `v` `kk` `a` `g` as they enter the recurrence (w the decay
/// factor itself, k after scaling, v after blending, kk normalised); `wkv_out` (the recurrence's output before group
/// norm); `time_mix_out` (added to the residual); `ffn_norm` (second layer norm); `channel_mix_out`; `layer_output`.
#[derive(Clone, Debug, Default)]
pub struct Taps {
    layers_by_name: BTreeMap<&'static str, Vec<Vec<f32>>>,
}

impl Taps {
    /// Appends the next layer's value under `name`.
    pub fn record(&mut self, name: &'static str, values: &[f32]) {
        self.layers_by_name
            .entry(name)
            .or_default()
            .push(values.to_vec());
    }

    /// What layer `layer` computed under `name`.
    pub fn get(&self, name: &str, layer: usize) -> Option<&[f32]> {
        self.layers_by_name.get(name)?.get(layer).map(Vec::as_slice)
    }

    /// The names recorded.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.layers_by_name.keys().copied()
    }
}
