//! The passes of sampling, each behind the ones before it.

use anyhow::Result;
use thalweg_gpu::{Binding, Buffer, Context, PlanBuilder, Work, Workgroups};
use thalweg_shaders::kernels::{SampleParams, SamplePass};
use thalweg_shaders::{Error, SampleCount, SampleReport, SampleRow};

use super::{Case, Input, Numbers, Shapes, bytes_of_numbers};

/// Scratch memory as the passes before one left it.
#[derive(Debug, Clone, Copy)]
pub struct Sampled {
    sampling: Sampling,
    /// The pass that is to run next.
    next: SamplePass,
    part: Scratch,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scratch {
    Keys,
    Work,
}

/// Rows that are sampled in one way.
#[derive(Debug, Clone, Copy)]
struct Sampling {
    way: Way,
    rows: usize,
    params: SampleParams,
    vocab: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Greedy,
    /// Top-p and penalties: what RWKV models are used with.
    TopP,
    /// Top-k, then top-p, with the twenty best log-probabilities.
    TopKTopP,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Greedy => "greedy",
            Way::TopP => "top-p",
            Way::TopKTopP => "top-k+top-p+logprobs",
        }
    }

    fn row(self, slot: u32) -> SampleRow {
        let drawn = SampleRow::drawn(slot, 1.0, slot.into());
        match self {
            Way::Greedy => SampleRow::greedy(slot),
            Way::TopP => drawn.with_top_p(0.5).with_penalties(0.5, 0.2, 0.996),
            Way::TopKTopP => drawn.with_top_k(50).with_top_p(0.9).with_top_logprobs(20),
        }
    }
}

/// Every pass for one row and for many, in every way.
pub(super) fn sampling(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    let Some(params) = SampleParams::new(shapes.vocab) else {
        return Ok(cases);
    };
    for pass in SamplePass::ALL {
        for rows in [1, shapes.tokens[0]] {
            for way in [Way::Greedy, Way::TopP, Way::TopKTopP] {
                let sampling = Sampling {
                    way,
                    rows,
                    params,
                    vocab: shapes.vocab,
                };
                cases.push(sampling.case(pass)?);
            }
        }
    }
    Ok(cases)
}

impl Sampling {
    fn case(&self, pass: SamplePass) -> Result<Case, Error> {
        let grid = pass.workgroups(&self.params, self.rows as u32);
        Ok(Case {
            group: pass.name(),
            name: format!("{}/{}/{}", self.way.name(), self.vocab, self.rows),
            kernel: pass.kernel()?,
            inputs: self.inputs(pass),
            workgroups: Workgroups::Grid(grid),
            work: self.work(pass),
        })
    }

    fn inputs(&self, pass: SamplePass) -> Vec<Input> {
        let scratch = |part| {
            Input::Sampled(Sampled {
                sampling: *self,
                next: pass,
                part,
            })
        };
        let rows = self.rows as u64;
        let counts = rows * (1 + self.vocab) as u64 * size_of::<SampleCount>() as u64;
        let slots = 0..self.rows as u32;
        let mut inputs = vec![
            Input::Rows(self.rows),
            Input::uniform(&self.params),
            Input::Settings(slots.map(|slot| self.way.row(slot)).collect()),
        ];
        if pass == SamplePass::Scores {
            // Distances from the best as wide as a model's.
            let logits = Numbers::new(self.rows * self.vocab, -12.0, 12.0);
            inputs.extend([
                Input::Numbers(vec![logits]),
                Input::Room(8), // no biases
                Input::Room(counts),
            ]);
        }
        inputs.extend([scratch(Scratch::Keys), scratch(Scratch::Work)]);
        if pass == SamplePass::Draw {
            inputs.extend([
                Input::Room(counts),
                Input::Room(4 * rows),
                Input::Room(rows * size_of::<SampleReport>() as u64),
            ]);
        }
        inputs
    }

    fn work(&self, pass: SamplePass) -> Work {
        let tokens = self.rows * self.vocab;
        let penalised = if self.way == Way::TopP { 2 } else { 0 };
        let bytes = match pass {
            SamplePass::Scores => bytes_of_numbers((2 + penalised) * tokens),
            SamplePass::Histogram | SamplePass::Gather if self.way == Way::Greedy => {
                bytes_of_numbers(self.rows)
            }
            SamplePass::Histogram | SamplePass::Gather => bytes_of_numbers(tokens),
            SamplePass::Draw => bytes_of_numbers(self.rows * self.vocab / 1024),
        };
        Work { flops: 0.0, bytes }
    }
}

impl Sampled {
    /// The buffer, after the passes before.
    pub(super) fn allocate(&self, context: &Context) -> Result<Buffer> {
        let Sampling { rows, vocab, .. } = self.sampling;
        let keys = context.buffer("keys", 4 * (rows * vocab) as u64)?;
        let work = context.buffer("work", rows as u64 * SamplePass::WORK_BYTES)?;
        for pass in SamplePass::ALL {
            if pass == self.next {
                break;
            }
            self.run(context, pass, &keys, &work)?;
        }
        Ok(match self.part {
            Scratch::Keys => keys,
            Scratch::Work => work,
        })
    }

    fn run(&self, context: &Context, pass: SamplePass, keys: &Buffer, work: &Buffer) -> Result<()> {
        let inputs = self.sampling.inputs(pass);
        let buffers = inputs
            .iter()
            .map(|input| match input {
                Input::Sampled(_) => Ok(Vec::new()),
                other => other.allocate(context, 0),
            })
            .collect::<Result<Vec<_>>>()?;
        let bindings: Vec<_> = inputs
            .iter()
            .zip(&buffers)
            .map(|(input, buffers)| match input {
                Input::Uniform(params) => Binding::Uniform(params),
                Input::Sampled(sampled) if sampled.part == Scratch::Keys => Binding::Buffer(keys),
                Input::Sampled(_) => Binding::Buffer(work),
                _ => Binding::Buffer(&buffers[0]),
            })
            .collect();
        let case = self.sampling.case(pass)?;
        // SAFETY: cases bind what their kernel's documentation asks for, with parameters that fit these buffers.
        let pipeline = unsafe { context.pipeline(&case.kernel) }?;
        let mut plan = PlanBuilder::new(context, case.group);
        plan.dispatch(&pipeline, &bindings, case.workgroups, case.work)?;
        plan.build()?.run(context)?;
        Ok(context.wait("sampling")?)
    }
}
