//! The passes on the device.

use bytemuck::{Zeroable, bytes_of};
use thalweg_gpu::{Binding, Buffer, Plan, PlanBuilder, Work, Workgroups};
use thalweg_shaders::kernels::{SampleParams, SamplePass};
use thalweg_shaders::{SampleBias, SampleCount, SampleReport, SampleRow};

use super::cases::Case;
use crate::harness::{buffer, context, rows};

/// Cases of one vocabulary, a row each, in slots in the opposite order.
pub(crate) struct OnDevice {
    plan: Plan,
    vocab: usize,
    rows: usize,
    counts: Buffer,
    tokens: Buffer,
    reports: Buffer,
    _scratch: [Buffer; 6],
}

impl OnDevice {
    pub(crate) fn new(cases: &[Case]) -> OnDevice {
        let (vocab, count) = (cases[0].logits.len(), cases.len());
        let mut biases = SampleBias::list([(7, 7.0)]); // one that is nobody's
        let mut settings: Vec<SampleRow> = Vec::new();
        for (row, case) in cases.iter().enumerate() {
            settings.push(case.settings.row(count - 1 - row, biases.len()));
            biases.extend(case.settings.bias_list());
        }
        let logits: Vec<f32> = cases.iter().flat_map(|case| case.logits.clone()).collect();
        let counts: Vec<SampleCount> = cases
            .iter()
            .rev()
            .flat_map(|case| case.counts.clone())
            .collect();
        // Scratch memory need hold nothing before.
        let garbage = vec![0xa5a5_a5a5_u32; (count + 1) * SamplePass::WORK_BYTES as usize / 4];

        let params = SampleParams::new(vocab).unwrap();
        let (tokens, reports) = (
            buffer(&vec![77_u32; count + 1]),
            buffer(&vec![SampleReport::zeroed(); count + 1]),
        );
        let counts = buffer(&counts);
        let scratch = [
            rows(count, 0),
            buffer(&settings),
            buffer(&logits),
            buffer(&biases),
            buffer(&vec![u32::MAX; count * vocab]),
            buffer(&garbage),
        ];
        let mut plan = PlanBuilder::new(context(), "sampling");
        for pass in SamplePass::ALL {
            let [rows, settings, logits, biases, keys, work] = &scratch;
            let further: &[&Buffer] = match pass {
                SamplePass::Scores => &[logits, biases, &counts, keys, work],
                SamplePass::Histogram | SamplePass::Gather => &[keys, work],
                SamplePass::Draw => &[keys, work, &counts, &tokens, &reports],
            };
            let mut bindings = vec![
                Binding::Buffer(rows),
                Binding::Uniform(bytes_of(&params)),
                Binding::Buffer(settings),
            ];
            bindings.extend(further.iter().copied().map(Binding::Buffer));
            // SAFETY: this binds what the kernels' documentation asks for.
            let pipeline = unsafe { context().pipeline(&pass.kernel().unwrap()) }.unwrap();
            let grid = Workgroups::Grid(pass.workgroups(&params, count as u32 + 1));
            plan.dispatch(&pipeline, &bindings, grid, Work::default())
                .unwrap();
        }
        OnDevice {
            plan: plan.build().unwrap(),
            vocab,
            rows: count,
            counts,
            tokens,
            reports,
            _scratch: scratch,
        }
    }

    /// Samples one token of each row.
    pub(crate) fn run(&self) {
        self.plan.run(context()).unwrap();
    }

    pub(crate) fn tokens(&self) -> Vec<u32> {
        let mut tokens = vec![0; self.rows + 1];
        context().read(&self.tokens, 0, &mut tokens).unwrap();
        assert_eq!(
            tokens.pop(),
            Some(77),
            "a row beyond the last is left alone"
        );
        tokens
    }

    pub(crate) fn reports(&self) -> Vec<SampleReport> {
        let mut reports = vec![SampleReport::zeroed(); self.rows];
        context().read(&self.reports, 0, &mut reports).unwrap();
        reports
    }

    /// What each row's slot counted.
    pub(crate) fn counts(&self) -> Vec<Vec<SampleCount>> {
        let mut counts = vec![SampleCount::default(); self.rows * (1 + self.vocab)];
        context().read(&self.counts, 0, &mut counts).unwrap();
        counts
            .chunks(1 + self.vocab)
            .rev()
            .map(<[_]>::to_vec)
            .collect()
    }
}
