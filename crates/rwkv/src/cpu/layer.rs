//! One layer: time mixing, then channel mixing, each on the layer-normed residual stream.

use super::log::StateLog;
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

/// What enters the recurrence, and the gate behind it; each is `[tokens, width]`.
#[derive(Debug)]
pub(super) struct Projections {
    r: Vec<f32>,
    w: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    kk: Vec<f32>,
    a: Vec<f32>,
    g: Vec<f32>,
}

impl Projections {
    /// What enters the recurrence.
    pub(super) fn inputs(&self) -> twins::Wkv7Inputs<'_> {
        twins::Wkv7Inputs {
            r: &self.r,
            w: &self.w,
            k: &self.k,
            v: &self.v,
            kk: &self.kk,
            a: &self.a,
        }
    }
}

/// What all layers of a forward pass share.
pub(super) struct Pass<'a> {
    pub(super) file: &'a GgufFile,
    pub(super) hp: &'a Hyperparameters,
    /// Layer 0's values for the tokens of this pass, `[tokens, width]`.
    pub(super) v_first: Vec<f32>,
    pub(super) taps: Option<&'a mut Taps>,
    /// Where it is noted what the state is to become. If there is one, the state stays as it is.
    pub(super) log: Option<StateLog>,
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

    /// x is the normed stream `[tokens, width]`, as is the result. `shift` becomes the last row of x, unless there is a log.
    fn time_mix(
        &mut self,
        weights: &TimeMix,
        x: &[f32],
        shift: &mut [f32],
        wkv: &mut [f32],
    ) -> Result<Vec<f32>, Error> {
        let head_size = self.hp.head_size;
        let projections = self.project(weights, x, shift)?;
        let mut y = vec![0.0; x.len()];
        match self.log {
            None => {
                twins::wkv7(projections.inputs(), head_size, wkv, &mut y);
                keep_last_row(x, shift);
            }
            Some(_) => twins::wkv7_ahead(projections.inputs(), head_size, wkv, &mut y),
        }
        let Projections {
            r,
            w,
            k,
            v,
            kk,
            a,
            g,
        } = &projections;
        for (name, values) in [
            ("r", r),
            ("w", w),
            ("k", k),
            ("v", v),
            ("kk", kk),
            ("a", a),
            ("g", g),
            ("wkv_out", &y),
        ] {
            self.tap(name, values);
        }

        let Norm { weight, bias } = &weights.group_norm;
        twins::group_norm(&mut y, weight, bias, head_size);
        twins::bonus(&mut y, r, k, v, &weights.r_k, head_size);
        twins::gate(&mut y, g);
        if let Some(log) = &mut self.log {
            log.note_time_mix(x, projections);
        }
        self.matmul(&weights.output, &y)
    }

    /// Everything in time mixing that looks at the tokens one by one.
    fn project(
        &mut self,
        weights: &TimeMix,
        x: &[f32],
        shift: &[f32],
    ) -> Result<Projections, Error> {
        let shifts = &weights.shifts;
        let mixed = |mu: &[f32]| shifted(x, shift, mu);
        let r = self.matmul(&weights.receptance, &mixed(&shifts.r))?;
        let mut k = self.matmul(&weights.key, &mixed(&shifts.k))?;
        let xv = mixed(&shifts.v);
        let mut v = self.matmul(&weights.value, &xv)?;
        self.blend_values(weights.value_residual.as_ref(), &xv, &mut v)?;
        let mut w = self.low_rank(&weights.decay.pair, &mixed(&shifts.w), twins::tanh)?;
        twins::decay(&mut w, &weights.decay.bias);
        let mut a = self.low_rank(&weights.iclr.pair, &mixed(&shifts.a), |_| ())?;
        twins::iclr(&mut a, &weights.iclr.bias);
        let g = self.low_rank(&weights.gate, &mixed(&shifts.g), twins::sigmoid)?;
        let mut kk = vec![0.0; k.len()];
        twins::removal_key(&k, &weights.k_k, self.hp.head_size, &mut kk);
        twins::scale_key(&mut k, &a, &weights.k_a);
        Ok(Projections {
            r,
            w,
            k,
            v,
            kk,
            a,
            g,
        })
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

    /// x is the normed stream `[tokens, width]`, as is the result. `shift` becomes the last row of x, unless there is a log.
    fn channel_mix(
        &mut self,
        weights: &ChannelMix,
        x: &[f32],
        shift: &mut [f32],
    ) -> Result<Vec<f32>, Error> {
        let mut hidden = self.matmul(&weights.key, &shifted(x, shift, &weights.shift))?;
        match &mut self.log {
            None => keep_last_row(x, shift),
            Some(log) => log.note_channel_mix(x),
        }
        twins::relu_squared(&mut hidden);
        self.matmul(&weights.value, &hidden)
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
