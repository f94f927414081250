//! One layer: time mixing, then channel mixing, each on the layer-normed residual stream.

use super::weights::{BiasedLowRank, ChannelMix, Layer, LowRank, MatrixAt, Norm, TimeMix};
use crate::{Error, Hyperparameters, Taps};
use thalweg_gguf::GgufFile;
use thalweg_shaders::twins;

/// One layer's part of the state.
pub(super) struct LayerState<'a> {
    /// `[width]`
    pub(super) att_shift: &'a mut [f32],
    /// `[width]`
    pub(super) ffn_shift: &'a mut [f32],
    /// `[heads, value, key]`
    pub(super) wkv: &'a mut [f32],
}

/// What all layers of a forward pass share.
pub(super) struct Pass<'a> {
    pub(super) file: &'a GgufFile,
    pub(super) hp: &'a Hyperparameters,
    /// Layer 0's values for the tokens of this pass, `[tokens, width]`.
    pub(super) v_first: Vec<f32>,
    pub(super) taps: Option<&'a mut Taps>,
}

impl Pass<'_> {
    /// Adds the layer's two branches to the residual stream x `[tokens, width]`.
    pub(super) fn layer(
        &mut self,
        layer: &Layer,
        state: LayerState<'_>,
        x: &mut [f32],
    ) -> Result<(), Error> {
        self.tap("layer_input", x);
        let normed = self.norm(&layer.att_norm, x);
        self.tap("att_norm", &normed);
        let branch = self.time_mix(&layer.time_mix, &normed, state.att_shift, state.wkv)?;
        self.tap("time_mix_out", &branch);
        twins::residual(x, &branch);

        let normed = self.norm(&layer.ffn_norm, x);
        self.tap("ffn_norm", &normed);
        let branch = self.channel_mix(&layer.channel_mix, &normed, state.ffn_shift)?;
        self.tap("channel_mix_out", &branch);
        twins::residual(x, &branch);
        self.tap("layer_output", x);
        Ok(())
    }

    /// x is the normed stream `[tokens, width]`, as is the result. `shift` becomes the last row of x.
    fn time_mix(
        &mut self,
        time_mix: &TimeMix,
        x: &[f32],
        shift: &mut [f32],
        wkv: &mut [f32],
    ) -> Result<Vec<f32>, Error> {
        let head_size = self.hp.head_size;
        let shifts = &time_mix.shifts;
        let xv = shifted(x, shift, &shifts.v);
        let r = self.matmul(&time_mix.receptance, &shifted(x, shift, &shifts.r))?;
        let mut k = self.matmul(&time_mix.key, &shifted(x, shift, &shifts.k))?;
        let mut v = self.matmul(&time_mix.value, &xv)?;
        let mut w = self.low_rank(
            &time_mix.decay.pair,
            &shifted(x, shift, &shifts.w),
            twins::tanh,
        )?;
        let mut a = self.low_rank(&time_mix.iclr.pair, &shifted(x, shift, &shifts.a), |_| ())?;
        let g = self.low_rank(
            &time_mix.gate,
            &shifted(x, shift, &shifts.g),
            twins::sigmoid,
        )?;
        keep_last_row(x, shift);

        twins::decay(&mut w, &time_mix.decay.bias);
        twins::iclr(&mut a, &time_mix.iclr.bias);
        self.blend_values(time_mix.value_residual.as_ref(), &xv, &mut v)?;
        let mut kk = vec![0.0; k.len()];
        twins::removal_key(&k, &time_mix.k_k, head_size, &mut kk);
        twins::scale_key(&mut k, &a, &time_mix.k_a);
        for (name, values) in [
            ("r", &r),
            ("w", &w),
            ("k", &k),
            ("v", &v),
            ("kk", &kk),
            ("a", &a),
            ("g", &g),
        ] {
            self.tap(name, values);
        }

        let mut y = vec![0.0; x.len()];
        twins::wkv7(
            twins::Wkv7Inputs {
                r: &r,
                w: &w,
                k: &k,
                v: &v,
                kk: &kk,
                a: &a,
            },
            head_size,
            wkv,
            &mut y,
        );
        self.tap("wkv_out", &y);
        twins::group_norm(
            &mut y,
            &time_mix.group_norm.weight,
            &time_mix.group_norm.bias,
            head_size,
        );
        twins::bonus(&mut y, &r, &k, &v, &time_mix.r_k, head_size);
        twins::gate(&mut y, &g);
        self.matmul(&time_mix.output, &y)
    }

    /// Layer 0, without a value residual, defines the values that all others blend towards.
    fn blend_values(
        &mut self,
        blend: Option<&BiasedLowRank>,
        xv: &[f32],
        v: &mut [f32],
    ) -> Result<(), Error> {
        match blend {
            None => self.v_first = v.to_vec(),
            Some(BiasedLowRank { pair, bias }) => {
                let weight = self.low_rank(pair, xv, |_| ())?;
                twins::value_residual(v, &self.v_first, &weight, bias);
            }
        }
        Ok(())
    }

    /// x is the normed stream `[tokens, width]`, as is the result. `shift` becomes the last row of x.
    fn channel_mix(
        &self,
        channel_mix: &ChannelMix,
        x: &[f32],
        shift: &mut [f32],
    ) -> Result<Vec<f32>, Error> {
        let mut hidden = self.matmul(&channel_mix.key, &shifted(x, shift, &channel_mix.shift))?;
        keep_last_row(x, shift);
        twins::relu_squared(&mut hidden);
        self.matmul(&channel_mix.value, &hidden)
    }

    /// Layer norm of x `[tokens, width]`.
    pub(super) fn norm(&self, norm: &Norm, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        twins::layer_norm(
            x,
            &norm.weight,
            &norm.bias,
            self.hp.layer_norm_eps,
            &mut out,
        );
        out
    }

    /// `[tokens, cols]` to `[tokens, rows]`.
    pub(super) fn matmul(&self, matrix: &MatrixAt, x: &[f32]) -> Result<Vec<f32>, Error> {
        let matrix = matrix.of(self.file);
        let mut out = vec![0.0; x.len() / matrix.cols * matrix.rows];
        twins::matmul(&matrix, x, &mut out)?;
        Ok(out)
    }

    /// `up * activation(down * x)`, `[tokens, width]` to `[tokens, width]`.
    fn low_rank(
        &self,
        pair: &LowRank,
        x: &[f32],
        activation: impl Fn(&mut [f32]),
    ) -> Result<Vec<f32>, Error> {
        let mut hidden = self.matmul(&pair.down, x)?;
        activation(&mut hidden);
        self.matmul(&pair.up, &hidden)
    }

    fn tap(&mut self, name: &'static str, values: &[f32]) {
        if let Some(taps) = &mut self.taps {
            taps.record(name, values);
        }
    }
}

fn shifted(x: &[f32], previous: &[f32], mu: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    twins::token_shift(x, previous, mu, &mut out);
    out
}

fn keep_last_row(x: &[f32], shift: &mut [f32]) {
    shift.copy_from_slice(&x[x.len() - shift.len()..]);
}
