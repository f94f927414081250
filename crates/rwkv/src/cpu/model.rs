//! Tokens in, logits out.

use super::layer::{LayerState, Pass};
use super::log::StateLog;
use super::weights::Weights;
use crate::{Error, Hyperparameters, Place, State, Taps, Wanted, tensors};
use thalweg_gguf::GgufFile;
use thalweg_shaders::twins;

/// A loaded model. It holds no sequence and can serve several at once.
#[derive(Debug)]
pub struct CpuModel {
    file: GgufFile,
    hp: Hyperparameters,
    weights: Weights,
}

impl CpuModel {
    /// Takes over a file whose tensors are then found, checked and, the small ones, decoded. Matrices stay in the file.
    ///
    /// # Errors
    /// The file is of another architecture, or hyperparameters or tensors are not as they should be.
    pub fn load(file: GgufFile) -> Result<CpuModel, Error> {
        let hp = Hyperparameters::from_gguf(&file)?;
        tensors::check(&file, &hp)?;
        let weights = Weights::load(&file, &hp)?;
        Ok(CpuModel { file, hp, weights })
    }

    /// The file behind the model.
    pub fn file(&self) -> &GgufFile {
        &self.file
    }

    /// Sizes of the model.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hp
    }

    /// Looks at every weight: takes as long as reading the whole file.
    ///
    /// # Errors
    /// [`Error::NonFiniteWeight`] for the first that is infinite or not a number.
    pub fn check_tensors(&self) -> Result<(), Error> {
        tensors::check_finite(&self.file, &self.hp)
    }

    /// Reads `tokens` from `state` on, which advances, and returns the logits `[wanted tokens, vocab]`.
    ///
    /// The memory needed grows with the number of tokens, see [`MemoryEstimate`](crate::MemoryEstimate). Cutting the
    /// tokens into several calls changes no bit of the logits or the state. `taps` collects what the layers compute.
    ///
    /// # Errors
    /// [`Error::Token`] or [`Error::StateShape`] before anything is computed; [`Error::NonFinite`] when the numbers run
    /// away, after which the state is of no use.
    pub fn forward(
        &self,
        tokens: &[u32],
        state: &mut State,
        wanted: Wanted,
        taps: Option<&mut Taps>,
    ) -> Result<Vec<f32>, Error> {
        self.hp.check_tokens(tokens)?;
        state.check(&self.hp)?;
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        // Once inside rayon's threads, the many small parallel steps need not travel there one by one.
        rayon::scope(|_| self.forward_checked(tokens, state, wanted, &mut self.pass(taps)))
    }

    /// The logits after each of `tokens`, which there is at least one of and which have been checked, `[tokens, vocab]`. The state,
    /// which is the model's, stays as it is; the log can take it as far as is wanted.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when the numbers run away.
    pub(crate) fn look_ahead(
        &self,
        tokens: &[u32],
        state: &mut State,
    ) -> Result<(Vec<f32>, StateLog), Error> {
        let mut pass = self.pass(None);
        pass.log = Some(StateLog::default());
        let logits = rayon::scope(|_| self.forward_checked(tokens, state, Wanted::All, &mut pass))?;
        Ok((logits, pass.log.unwrap_or_default()))
    }

    fn pass<'a>(&'a self, taps: Option<&'a mut Taps>) -> Pass<'a> {
        Pass {
            file: &self.file,
            hp: &self.hp,
            v_first: Vec::new(),
            taps,
            log: None,
        }
    }

    fn forward_checked(
        &self,
        tokens: &[u32],
        state: &mut State,
        wanted: Wanted,
        pass: &mut Pass<'_>,
    ) -> Result<Vec<f32>, Error> {
        let width = self.hp.width;
        let mut x = vec![0.0; tokens.len() * width];
        twins::embedding(&self.weights.embedding.of(&self.file), tokens, &mut x)?;
        x = pass.norm(&self.weights.embedding_norm, &x);
        check_finite(&x, width, Place::Embedding)?;
        for (index, (layer, state)) in self
            .weights
            .layers
            .iter()
            .zip(layer_states(state, &self.hp))
            .enumerate()
        {
            pass.layer(layer, state, &mut x)?;
            check_finite(&x, width, Place::Layer(index))?;
        }

        let wanted = wanted.count(tokens.len());
        let normed = pass.norm(
            &self.weights.output_norm,
            &x[(tokens.len() - wanted) * width..],
        );
        let logits = pass.matmul(&self.weights.output, &normed)?;
        check_finite(&logits, self.hp.vocab, Place::Output)?;
        Ok(logits)
    }
}

/// The state cut into layers.
pub(super) fn layer_states<'a>(
    state: &'a mut State,
    hp: &Hyperparameters,
) -> impl Iterator<Item = LayerState<'a>> {
    let att_shifts = state.att_shift.chunks_exact_mut(hp.width);
    let ffn_shifts = state.ffn_shift.chunks_exact_mut(hp.width);
    let wkvs = state.wkv.chunks_exact_mut(hp.width * hp.head_size);
    att_shifts
        .zip(ffn_shifts)
        .zip(wkvs)
        .map(|((att_shift, ffn_shift), wkv)| LayerState {
            att_shift,
            ffn_shift,
            wkv,
        })
}

/// Refuses rows `[tokens, row_len]` with infinities. Costs next to nothing beside what made them.
fn check_finite(rows: &[f32], row_len: usize, place: Place) -> Result<(), Error> {
    match rows.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::NonFinite {
            place,
            position: index / row_len,
        }),
    }
}
