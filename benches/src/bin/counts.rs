//! Counts what steps of a model ask of a device and of the heap, and prints them as JSON: what `cargo xtask bench-check`
//! compares with `benches/expectations.json`.
//!
//! A random model of a few layers runs without optional features, so that the counts are those of the code, whatever the
//! adapter is. Each step is run until nothing is compiled any more, then counted several times; only the heap may differ
//! between these, and of that the least counts.

#![allow(clippy::print_stdout, reason = "prints its result")]

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use thalweg_conformance::synth::{self, Types};
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_gpu::{Backend, Context, Counters, DeviceRequest, DeviceSelector, Feature};
use thalweg_rwkv::{
    Activations, Batch, Draft, GpuBatch, GpuModel, GpuOptions, Next, Part, Precision, Sampling,
    Tuning, Wanted,
};

/// Sequences of a batch.
const SEQUENCES: usize = 8;
/// Tokens of a prompt, read at once.
const PROMPT: usize = 32;
/// Steps of a loop.
const STEPS: usize = 16;
/// Guessed tokens.
const GUESS: [u32; 4] = [1, 2, 3, 4];
/// A model, and one with a layer more.
const LAYERS: [usize; 2] = [2, 3];
/// Runs until plans are made and commands prepared, also for both halves of the log of guesses.
const WARM_UP: usize = 4;
/// Runs that are counted.
const RUNS: usize = 4;

/// What is counted, by name.
const STEP_NAMES: [&str; 6] = [
    "a token, for its logits",
    "a token, to choose the next",
    "a loop of 16 tokens",
    "a prompt of 32 tokens",
    "8 sequences, to choose the next",
    "4 guesses, verified",
];

fn main() -> Result<()> {
    let [fewer, more] = LAYERS.map(count);
    let (fewer, more) = (fewer?, more?);
    let mut steps = Map::new();
    for ((name, fewer), counted) in STEP_NAMES.into_iter().zip(&fewer.steps).zip(&more.steps) {
        let a_layer = counted.device.dispatches - fewer.device.dispatches;
        steps.insert(name.to_owned(), counted.to_json(a_layer));
    }
    let counts = json!({
        "model": { "layers": LAYERS[1], "device_bytes_of_weights": more.weight_bytes },
        "pipelines": more.pipelines,
        "steps": steps,
    });
    println!("{counts:#}");
    Ok(())
}

/// What a model was counted to do.
struct Counted {
    weight_bytes: u64,
    pipelines: u64,
    /// In the order of [`STEP_NAMES`].
    steps: Vec<Step>,
}

/// What a step asks for.
struct Step {
    device: Counters,
    /// Allocations on the heap.
    allocations: u64,
    allocated_bytes: u64,
}

impl Step {
    fn to_json(&self, dispatches_a_layer: u64) -> Value {
        let Counters {
            submissions,
            maps,
            writes,
            commands,
            dispatches,
            bound_bytes,
            moved_bytes,
            flops,
            ..
        } = self.device;
        json!({
            "submissions": submissions,
            "maps": maps,
            "writes": writes,
            "commands": commands,
            "dispatches": dispatches,
            "dispatches_a_layer": dispatches_a_layer,
            "bound_bytes": bound_bytes,
            "moved_bytes": moved_bytes,
            "flops": flops,
            "allocations": self.allocations,
            "allocated_bytes": self.allocated_bytes,
        })
    }
}

/// Counts the steps of a model of so many layers.
fn count(layers: usize) -> Result<Counted> {
    let context = Arc::new(open()?);
    let before = context.counters();
    let model = Arc::new(load(&context, layers)?);
    let weight_bytes = context.memory().buffer_bytes;
    let mut batch = GpuBatch::new(model, SEQUENCES)?;
    (0..SEQUENCES).try_for_each(|slot| batch.set_sampling(slot, Sampling::greedy()))?;
    let next = [0, 1, 2, 3, 4, 5, 6, 7].map(|slot| Next { slot, token: 7 });
    let prompt = [5; PROMPT];
    let read = |tokens| Part {
        slot: 0,
        tokens,
        wanted: Wanted::Last,
    };
    let draft = Draft {
        slot: 0,
        token: 7,
        guess: &GUESS,
    };
    let mut counter = Counter {
        context: &context,
        batch: &mut batch,
    };
    let steps = vec![
        counter.count(|batch| batch.forward(&[read(&[7])]).map(drop))?,
        counter.count(|batch| batch.decode(&next[..1], 1).map(drop))?,
        counter.count(|batch| batch.decode(&next[..1], STEPS).map(drop))?,
        counter.count(|batch| batch.forward(&[read(&prompt)]).map(drop))?,
        counter.count(|batch| batch.decode(&next, 1).map(drop))?,
        counter.count(|batch| batch.verify(&[draft]).map(drop))?,
    ];
    Ok(Counted {
        weight_bytes,
        pipelines: (context.counters() - before).pipelines,
        steps,
    })
}

struct Counter<'a> {
    context: &'a Context,
    batch: &'a mut GpuBatch,
}

impl Counter<'_> {
    fn count(
        &mut self,
        step: impl Fn(&mut GpuBatch) -> Result<(), thalweg_rwkv::Error>,
    ) -> Result<Step> {
        for _ in 0..WARM_UP {
            step(self.batch)?;
        }
        let mut least = self.count_once(&step)?;
        for _ in 1..RUNS {
            let again = self.count_once(&step)?;
            ensure!(
                again.device == least.device,
                "a step does not do the same each time: {:?}, then {:?}; count another one",
                least.device,
                again.device
            );
            least.allocations = least.allocations.min(again.allocations);
            least.allocated_bytes = least.allocated_bytes.min(again.allocated_bytes);
        }
        Ok(least)
    }

    fn count_once(
        &mut self,
        step: impl Fn(&mut GpuBatch) -> Result<(), thalweg_rwkv::Error>,
    ) -> Result<Step> {
        let before = self.context.counters();
        let mut done = Ok(());
        let heap = allocation_counter::measure(|| done = step(self.batch));
        done?;
        Ok(Step {
            device: self.context.counters() - before,
            allocations: heap.count_total,
            allocated_bytes: heap.bytes_total,
        })
    }
}

/// A software adapter where there is one, for all machines can have that; else whatever there is. It is opened with nothing
/// that not all adapters have.
fn open() -> Result<Context> {
    let everywhere = DeviceRequest {
        features_off: Feature::ALL.to_vec(),
        ..DeviceRequest::default()
    };
    let adapters = thalweg_gpu::adapters(&everywhere).adapters;
    let software = adapters.iter().position(|adapter| adapter.software);
    let request = match software {
        Some(index) => DeviceRequest {
            backend: Backend::Vulkan,
            device: Some(DeviceSelector::Index(index)),
            ..everywhere
        },
        None => everywhere,
    };
    Context::new(&request).context("counting needs an adapter, a software one at least")
}

fn load(context: &Arc<Context>, layers: usize) -> Result<GpuModel> {
    let hp = synth::shape(layers, 256, 1024);
    let types = Types {
        large: TensorType::Q4_K,
        output: TensorType::Q6_K,
        low_rank: TensorType::F16,
    };
    let file = GgufFile::from_bytes(synth::model(&hp, types, 1))?;
    let options = GpuOptions {
        tuning: Tuning {
            chunk: PROMPT as u32,
            ..Tuning::suiting(&hp, Activations::F32)
        },
        precision: Precision::Exact,
        activations: Activations::F32,
    };
    Ok(GpuModel::load(Arc::clone(context), &file, options)?)
}
