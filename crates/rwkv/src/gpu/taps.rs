//! A forward pass with a look inside the layers, for comparing it with another implementation.

use thalweg_gpu::Buffer;
use thalweg_shaders::kernels::{Rows, Slot};

use super::GpuSession;
use super::arrangement::Arrangement;
use super::layer::{LayerStep, Reading};
use super::recorder::Recorder;
use super::session::part;
use super::weights::Vector;
use crate::{Batch, Error, Taps, Wanted};

impl GpuSession {
    /// Reads `tokens`, at most a chunk, and records what the layers compute. Waits for the device after every part of a
    /// layer, so it is slow, but its steps are those of [`forward`](crate::Session::forward).
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::Setting`] if there are more tokens than a chunk has; errors of the device.
    pub fn forward_tapped(&mut self, tokens: &[u32], taps: &mut Taps) -> Result<(), Error> {
        self.model().hp.check_tokens(tokens)?;
        self.begin()?;
        let batch = &self.batch;
        if !(1..=batch.largest_step()).contains(&tokens.len()) {
            let expected = format!("1 to {}, the chunk size", batch.largest_step());
            return Err(Error::Setting {
                name: "number of tokens to tap",
                found: tokens.len(),
                expected,
            });
        }
        // A single token, too, goes the way on which what is to be recorded is in memory.
        let rows = Arrangement::of_longer(&part(tokens, Wanted::Nothing));
        let (context, head) = (&self.model().context, Rows { count: 0, first: 0 });
        batch.buffers.write_inputs(context, &rows, head, 1)?;
        self.run_recorded(tokens.len(), |recorder| {
            recorder.embed(&self.model().hp, &self.model().weights.ends, &batch.buffers)
        })?;
        for index in 0..self.model().hp.layers {
            let step = batch.layer_step(index, Reading::Tokens(rows.sequences()));
            self.tap_layer(&step, tokens.len(), taps)?;
        }
        Ok(())
    }

    fn tap_layer(&self, step: &LayerStep<'_>, tokens: usize, taps: &mut Taps) -> Result<(), Error> {
        let width = self.model().hp.width;
        let rows = |buffer: &Buffer, first_row: usize| -> Result<Vec<f32>, Error> {
            let mut rows = vec![0.0; tokens * width];
            self.model()
                .context
                .read(buffer, 4 * (first_row * width) as u64, &mut rows)?;
            Ok(rows)
        };
        let buffers = &self.batch.buffers;
        taps.record("layer_input", &rows(&buffers.x, 0)?);
        self.tap_norm(step, tokens, Vector::AttNormWeight)?;
        taps.record("att_norm", &rows(&buffers.y, 0)?);
        self.run_recorded(tokens, |recorder| step.time_mix_branch(recorder, None))?;
        for (name, slot) in [
            ("r", Slot::Receptance),
            ("w", Slot::Decay),
            ("k", Slot::Key),
            ("v", step.value_slot()),
            ("kk", Slot::RemovalKey),
            ("a", Slot::Iclr),
            ("g", Slot::Gate),
        ] {
            taps.record(
                name,
                &rows(&buffers.mixed, slot as usize * buffers.capacity)?,
            );
        }
        taps.record("wkv_out", &rows(&buffers.y, 0)?);
        // What a branch adds is never by itself in memory: it is computed once more, into a buffer that is free.
        self.model().context.clear(&buffers.y)?;
        self.run_recorded(tokens, |recorder| {
            step.time_mix_output(recorder, &buffers.y)?;
            step.time_mix_output(recorder, &buffers.x)
        })?;
        taps.record("time_mix_out", &rows(&buffers.y, 0)?);

        self.tap_norm(step, tokens, Vector::FfnNormWeight)?;
        taps.record("ffn_norm", &rows(&buffers.y, 0)?);
        self.run_recorded(tokens, |recorder| step.channel_mix_branch(recorder, None))?;
        self.model().context.clear(&buffers.y)?;
        self.run_recorded(tokens, |recorder| {
            step.channel_mix_output(recorder, &buffers.y)?;
            step.channel_mix_output(recorder, &buffers.x)
        })?;
        taps.record("channel_mix_out", &rows(&buffers.y, 0)?);
        taps.record("layer_output", &rows(&buffers.x, 0)?);
        Ok(())
    }

    /// Normed x, which is never by itself in memory either, into y.
    fn tap_norm(&self, step: &LayerStep<'_>, tokens: usize, weight: Vector) -> Result<(), Error> {
        let (hp, buffers) = (&self.model().hp, &self.batch.buffers);
        let norm = (step.weights.vectors(), step.weights.vec4(weight));
        self.run_recorded(tokens, |recorder| {
            recorder.layer_norm(hp, buffers.rows(), norm, [&buffers.x, &buffers.y])
        })
    }

    fn run_recorded(
        &self,
        tokens: usize,
        record: impl FnOnce(&mut Recorder<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let context = &*self.model().context;
        let (shape, options) = (self.batch.shape(tokens), self.model().options);
        let mut recorder = Recorder::new(context, shape, options, "a part of a layer");
        record(&mut recorder)?;
        Ok(recorder.build()?.run(context)?)
    }
}
