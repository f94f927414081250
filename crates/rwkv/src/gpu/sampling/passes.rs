//! The sampler's passes in a plan.

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Buffer, Work, Workgroups};
use thalweg_shaders::SampleReport;
use thalweg_shaders::kernels::{GuessPass, Rows, SamplePass};

use super::{DeviceSampler, Finding, SETTINGS_OFFSET, Scratch};
use crate::Error;
use crate::gpu::activations::Activations;
use crate::gpu::log::Noting;
use crate::gpu::recorder::{Operation, Recorder};

impl DeviceSampler {
    /// Chooses a token for each of up to so many rows of logits, writes them where the next step reads its tokens, and
    /// collects them for the host.
    pub(in crate::gpu) fn record(
        &self,
        recorder: &mut Recorder<'_>,
        buffers: &Activations,
        rows: u32,
        finding: Finding,
    ) -> Result<(), Error> {
        let passes: &[SamplePass] = match finding.draws {
            true => &SamplePass::ALL,
            false => &[SamplePass::Scores, SamplePass::Draw],
        };
        for &pass in passes {
            self.record_pass(recorder, buffers, rows, pass)?;
        }
        self.collect(recorder, buffers.token_place(), rows, finding);
        Ok(())
    }

    /// Likewise after each row that a sequence reads or guesses that it will; counts what single steps would have chosen.
    pub(in crate::gpu) fn record_guesses(
        &self,
        recorder: &mut Recorder<'_>,
        buffers: &Activations,
        rows: u32,
        noting: &Noting<'_>,
        finding: Finding,
    ) -> Result<(), Error> {
        for pass in GuessPass::ALL {
            if pass == GuessPass::Draw && finding.draws {
                self.record_pass(recorder, buffers, rows, SamplePass::Histogram)?;
                self.record_pass(recorder, buffers, rows, SamplePass::Gather)?;
            }
            let drawn = Binding::Buffer(&self.scratch.drawn);
            let bindings = match pass {
                GuessPass::Scores => {
                    let mut bindings = self.bindings(SamplePass::Scores, buffers, drawn);
                    bindings.push(buffers.tokens());
                    bindings
                }
                GuessPass::Draw => self.bindings(SamplePass::Draw, buffers, drawn),
                GuessPass::Keep => {
                    let mut bindings = self.settings();
                    bindings.extend([noting.replays(), buffers.tokens(), drawn]);
                    bindings.push(Binding::Buffer(&self.counts));
                    bindings
                }
            };
            let grid = pass.workgroups(&self.params, rows, noting.sequences());
            let operation = Operation::SampleGuesses(pass);
            recorder.dispatch(
                operation,
                &bindings,
                Workgroups::Grid(grid),
                self.work(rows),
            )?;
        }
        self.collect(recorder, (&self.scratch.drawn, 0), rows, finding);
        Ok(())
    }

    fn record_pass(
        &self,
        recorder: &mut Recorder<'_>,
        buffers: &Activations,
        rows: u32,
        pass: SamplePass,
    ) -> Result<(), Error> {
        let bindings = self.bindings(pass, buffers, buffers.tokens());
        let workgroups = Workgroups::Grid(pass.workgroups(&self.params, rows));
        let operation = Operation::Sample(pass);
        recorder.dispatch(operation, &bindings, workgroups, self.work(rows))
    }

    /// The work of a pass over so many rows.
    fn work(&self, rows: u32) -> Work {
        let numbers = f64::from(rows) * self.vocab as f64;
        Work {
            flops: 10.0 * numbers,
            bytes: 12.0 * numbers,
        }
    }

    /// Ends a plan by collecting for the host what was chosen for so many rows: the tokens lie in a buffer from an offset on.
    fn collect(
        &self,
        recorder: &mut Recorder<'_>,
        (tokens, offset): (&Buffer, u64),
        rows: u32,
        finding: Finding,
    ) {
        let (reports, bytes) = (&self.scratch.reports, report_bytes(rows));
        let plan = recorder.plan();
        match finding.reports {
            true => plan.collect(reports, 0, &self.reports_read, bytes),
            false => plan.collect(tokens, offset, &self.tokens_read, 4 * u64::from(rows)),
        }
    }

    /// What every pass binds: how many rows there are, the parameters, the settings.
    fn settings(&self) -> Vec<Binding<'_>> {
        let rows = &self.scratch.rows;
        let part = |offset: u64, bytes: u64| Binding::Part {
            buffer: rows,
            offset,
            bytes,
        };
        vec![
            part(0, size_of::<Rows>() as u64),
            Binding::Uniform(bytes_of(&self.params)),
            part(SETTINGS_OFFSET, rows.bytes() - SETTINGS_OFFSET),
        ]
    }

    /// The bindings of a pass, the last of which writes its tokens there.
    fn bindings<'a>(
        &'a self,
        pass: SamplePass,
        buffers: &'a Activations,
        tokens: Binding<'a>,
    ) -> Vec<Binding<'a>> {
        let DeviceSampler { biases, counts, .. } = self;
        let Scratch {
            keys,
            work,
            reports,
            ..
        } = &self.scratch;
        let mut bindings = self.settings();
        match pass {
            SamplePass::Scores => {
                let scored = [&buffers.logits, biases, counts, keys, work];
                bindings.extend(scored.map(Binding::Buffer));
            }
            SamplePass::Histogram | SamplePass::Gather => {
                bindings.extend([keys, work].map(Binding::Buffer));
            }
            SamplePass::Draw => {
                bindings.extend([keys, work, counts].map(Binding::Buffer));
                bindings.extend([tokens, Binding::Buffer(reports)]);
            }
        }
        bindings
    }
}

fn report_bytes(rows: u32) -> u64 {
    u64::from(rows) * size_of::<SampleReport>() as u64
}
