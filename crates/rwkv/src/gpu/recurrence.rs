//! What a layer does head by head, between the low-rank products and the last one of time mixing: the keys, the recurrence, the
//! readout.

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Work, Workgroups};
use thalweg_shaders::kernels::{RemovalKey, TimeMixParams, Wkv7Replay};

use super::arrangement::Sequences;
use super::layer::{LayerStep, Reading};
use super::log::Noting;
use super::recorder::{Operation, Recorder};
use super::weights::Vector;
use crate::Error;

impl LayerStep<'_> {
    /// The removal key, the recurrence, the readout.
    pub(super) fn recurrence(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let Sequences { longer, single } = match self.reading {
            Reading::Tokens(sequences) => sequences,
            Reading::Guesses(noting) => return self.guessed_recurrence(recorder, &noting),
        };
        if longer > 0 {
            self.longer_recurrence(recorder, longer)?;
        }
        if single > 0 {
            self.single_recurrence(recorder, single)?;
        }
        Ok(())
    }

    /// Of sequences with several tokens: row by row, then sequence by sequence, then row by row.
    fn longer_recurrence(&self, recorder: &mut Recorder<'_>, sequences: u32) -> Result<(), Error> {
        let buffers = self.buffers;
        self.removal_key(recorder, buffers.longer_rows())?;

        let tokens = recorder.shape.tokens();
        let params = self.time_mix_params();
        let bindings = [
            buffers.sequences(),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&buffers.mixed),
            self.states.wkv(self.index),
            Binding::Buffer(&buffers.y),
        ];
        let heads = self.hp.heads as u32;
        let grid = Workgroups::Grid(recorder.recurrence().workgroups(heads, sequences));
        let work = self.state_work(tokens, sequences) + recorder.row_work(4 * self.hp.width);
        recorder.dispatch(Operation::Wkv7, &bindings, grid, work)?;

        self.readout(recorder, buffers.longer_rows())
    }

    /// Of guesses, likewise.
    fn guessed_recurrence(
        &self,
        recorder: &mut Recorder<'_>,
        noting: &Noting<'_>,
    ) -> Result<(), Error> {
        self.removal_key(recorder, self.buffers.rows())?;
        self.replay(recorder, noting)?;
        self.readout(recorder, self.buffers.rows())
    }

    /// The recurrence of guesses: what is due, which is all there is to do where a run has no rows, and what is new.
    pub(super) fn replay(
        &self,
        recorder: &mut Recorder<'_>,
        noting: &Noting<'_>,
    ) -> Result<(), Error> {
        let params = self.time_mix_params();
        let [due, noted] = noting.updates(self.index);
        let bindings = [
            noting.replays(),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&self.buffers.mixed),
            self.states.wkv(self.index),
            due,
            noted,
            Binding::Buffer(&self.buffers.y),
        ];
        let (heads, sequences) = (self.hp.heads as u32, noting.sequences());
        let grid = Workgroups::Grid(Wkv7Replay.workgroups(heads, sequences));
        // As many tokens are due as are new.
        let tokens = 2 * recorder.shape.tokens();
        let work = self.state_work(tokens, sequences) + recorder.row_work(8 * self.hp.width);
        recorder.dispatch(Operation::Wkv7Replay, &bindings, grid, work)
    }

    fn removal_key(&self, recorder: &mut Recorder<'_>, rows: Binding<'_>) -> Result<(), Error> {
        let params = self.time_mix_params();
        let bindings = [
            rows,
            Binding::Uniform(bytes_of(&params)),
            self.weights.vectors(),
            Binding::Buffer(&self.buffers.mixed),
        ];
        let (width, tokens) = (self.hp.width as u32, recorder.shape.tokens());
        let grid = Workgroups::Grid(RemovalKey.workgroups(width, tokens));
        let work = recorder.row_work(4 * self.hp.width);
        recorder.dispatch(Operation::RemovalKey, &bindings, grid, work)
    }

    fn readout(&self, recorder: &mut Recorder<'_>, rows: Binding<'_>) -> Result<(), Error> {
        let params = self.time_mix_params();
        let bindings = [
            rows,
            Binding::Uniform(bytes_of(&params)),
            self.weights.vectors(),
            Binding::Buffer(&self.buffers.mixed),
            Binding::Buffer(&self.buffers.y),
            Binding::Buffer(&self.buffers.gated),
        ];
        let (width, tokens) = (self.hp.width as u32, recorder.shape.tokens());
        let grid = Workgroups::Grid(recorder.readout().workgroups(width, tokens));
        let work = recorder.row_work(4 * self.hp.width);
        recorder.dispatch(Operation::Readout, &bindings, grid, work)
    }

    /// Of sequences with one token, in one dispatch.
    fn single_recurrence(&self, recorder: &mut Recorder<'_>, sequences: u32) -> Result<(), Error> {
        let buffers = self.buffers;
        let params = self.time_mix_params();
        let bindings = [
            buffers.single_rows(),
            Binding::Uniform(bytes_of(&params)),
            self.weights.vectors(),
            Binding::Buffer(&buffers.mixed),
            buffers.links(),
            self.states.wkv(self.index),
            Binding::Buffer(&buffers.gated),
        ];
        let step = recorder.head_step();
        let grid = Workgroups::Grid(step.workgroups(self.hp.heads as u32, sequences));
        let work = self.state_work(sequences, sequences);
        recorder.dispatch(Operation::HeadStep, &bindings, grid, work)
    }

    /// The work of taking the states of so many sequences through so many tokens in all.
    fn state_work(&self, tokens: u32, sequences: u32) -> Work {
        let state_numbers = (self.hp.width * self.hp.head_size) as f64;
        Work {
            flops: 10.0 * state_numbers * f64::from(tokens),
            bytes: 8.0 * state_numbers * f64::from(sequences),
        }
    }

    fn time_mix_params(&self) -> TimeMixParams {
        let vec4 = |vector| self.weights.vec4(vector);
        TimeMixParams {
            slot_stride: (self.buffers.capacity * self.hp.width / 4) as u32,
            width: self.hp.width as u32 / 4,
            value_slot: self.value_slot() as u32,
            k_k: vec4(Vector::RemovalKey),
            k_a: vec4(Vector::KeyScale),
            r_k: vec4(Vector::Bonus),
            norm_weight: vec4(Vector::GroupNormWeight),
            norm_bias: vec4(Vector::GroupNormBias),
        }
    }
}
