//! What tests run on: a sequence, or several that are read together, which stay from sample to sample.

use std::time::Duration;

use thalweg_bench::{Setting, Task};
use thalweg_rwkv::State;

use super::action;
use super::plan::{Place, Sequences, Trial};
use crate::failure::Failure;
use crate::flags::Activations;
use crate::model::{BatchModel, Compute, Model, SharedModel, Slots};

/// A sequence, or several that are read together.
pub(super) struct Station {
    runner: Runner,
    activations: Activations,
    /// States behind the depths that were needed so far.
    states: Vec<(usize, State)>,
    /// Bytes on the device that it has taken so far.
    pub(super) device_bytes: u64,
}

enum Runner {
    One(Model),
    Batch(BatchModel),
}

impl Station {
    /// Begins what the place says.
    pub(super) fn new(
        compute: &Compute<'_>,
        shared: &SharedModel,
        place: &Place,
    ) -> Result<Station, Failure> {
        let compute = compute.with_activations(place.activations);
        let runner = match place.sequences {
            Sequences::One(chunk_size, block_size) => {
                Runner::One(compute.start_shared(shared, chunk_size, block_size)?)
            }
            Sequences::Batch(slots) => {
                Runner::Batch(compute.start_shared_batch(shared, Slots::Sequences(slots))?)
            }
        };
        Ok(Station {
            runner,
            activations: place.activations,
            states: Vec::new(),
            device_bytes: 0,
        })
    }

    /// Whether it can do the test: where steps gain nothing by being together, there are no loops.
    pub(super) fn can(&self, trial: &Trial) -> bool {
        match (&self.runner, trial.task) {
            (Runner::Batch(model), Task::Loop) => model.batch().longest_loop() > 1,
            _ => true,
        }
    }

    /// The test with all that its speed depends on.
    pub(super) fn setting(&self, trial: &Trial) -> Setting {
        let (chunk_size, block_size) = match &self.runner {
            Runner::One(model) if trial.task == Task::Prefill => {
                (model.chunk_size.tokens(), model.block_size)
            }
            _ => (1, None),
        };
        let Trial {
            task,
            tokens,
            sequences,
            depth,
        } = *trial;
        Setting {
            task,
            tokens,
            sequences,
            depth,
            chunk_size,
            block_size,
            activations: match self.activations {
                Activations::F32 => thalweg_bench::Activations::F32,
                Activations::Q8 => thalweg_bench::Activations::Q8,
            },
        }
    }

    /// Runs the test once, and returns the time of what is to be measured of it.
    pub(super) fn run(&mut self, setting: &Setting) -> Result<Duration, Failure> {
        if setting.depth > 0 && self.states.iter().all(|(depth, _)| *depth != setting.depth) {
            let state = self.state_behind(setting.depth)?;
            self.states.push((setting.depth, state));
        }
        let state = self
            .states
            .iter()
            .find(|(depth, _)| *depth == setting.depth);
        let state = state.map(|(_, state)| state);
        match &mut self.runner {
            Runner::One(model) => {
                let chunk_size = model.chunk_size;
                action::read(model.session.as_mut(), setting, chunk_size, state)
            }
            Runner::Batch(model) => {
                let batch = model.batch_mut();
                match setting.task {
                    Task::Sampled => action::generate(batch, setting, 1, state),
                    Task::Loop => {
                        let steps = batch.longest_loop();
                        action::generate(batch, setting, steps, state)
                    }
                    _ => action::decode(batch, setting, state),
                }
            }
        }
    }

    fn state_behind(&mut self, depth: usize) -> Result<State, Failure> {
        match &mut self.runner {
            Runner::One(model) => {
                let chunk_size = model.chunk_size;
                action::state_of_session(model.session.as_mut(), depth, chunk_size)
            }
            Runner::Batch(model) => action::state_of_batch(model.batch_mut(), depth),
        }
    }
}
