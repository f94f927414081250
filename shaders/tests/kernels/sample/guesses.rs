//! The passes for rows that are guesses, `sample_keep.wgsl` among them.

use bytemuck::{Zeroable, bytes_of};
use thalweg_gpu::{Binding, Buffer, PlanBuilder, Work, Workgroups};
use thalweg_shaders::kernels::{GuessPass, Kernel, Replay, SampleParams, SamplePass};
use thalweg_shaders::{NO_TOKEN, SampleBias, SampleCount, SampleReport, SampleRow, twins};

use super::assert_same;
use super::cases::Case;
use crate::harness::{buffer, context, rows};

/// A slot's token and the guesses after it: the logits after each, and what each is.
struct Draft {
    case: Case,
    logits: Vec<Vec<f32>>,
    tokens: Vec<u32>,
}

impl Draft {
    /// With so many rows, of which those from `wrong_at` on are wrong guesses.
    fn new(seed: u64, vocab: usize, rows: usize, wrong_at: usize) -> Draft {
        let mut draft = Draft {
            case: Case::random(seed, vocab),
            logits: (0..rows as u64)
                .map(|row| Case::random(1000 * seed + row, vocab).logits)
                .collect(),
            tokens: vec![1],
        };
        for row in 1..rows {
            let right = draft.expected(row - 1).token().unwrap();
            let wrong = draft.tokens[row / 2]; // one that occurred, mostly
            let token = if row < wrong_at { right } else { wrong };
            draft.tokens.push(token);
        }
        draft
    }

    /// What was counted before a row, if the guesses before it are right.
    fn counts(&self, row: usize) -> Vec<SampleCount> {
        let mut counts = self.case.counts.clone();
        for &token in &self.tokens[1..=row] {
            self.count(&mut counts, token);
        }
        counts
    }

    /// The twin counts what it chooses: here from logits that leave no choice.
    fn count(&self, counts: &mut [SampleCount], token: u32) {
        let mut logits = vec![0.0; counts.len() - 1];
        logits[token as usize] = 1.0;
        let decay = self.case.settings.decay;
        let row = SampleRow::greedy(0).with_penalties(0.0, 0.0, decay);
        twins::sample(&row, &logits, &[], counts);
    }

    /// What comes of a row.
    fn expected(&self, row: usize) -> SampleReport {
        let biases = self.case.settings.bias_list();
        let mut counts = self.counts(row);
        twins::sample(&self.case.row(), &self.logits[row], &biases, &mut counts)
    }

    /// What is counted in the end.
    fn expected_counts(&self) -> Vec<SampleCount> {
        let mut counts = self.case.counts.clone();
        for row in 0..self.tokens.len() {
            let Ok(token) = self.expected(row).token() else {
                break;
            };
            self.count(&mut counts, token);
            if self.tokens.get(row + 1) != Some(&token) {
                break;
            }
        }
        counts
    }
}

/// What the passes leave: tokens and reports of all rows, and the counts of the drafts in turn.
fn run(drafts: &[Draft]) -> (Vec<u32>, Vec<SampleReport>, Vec<Vec<SampleCount>>) {
    let (vocab, count) = (drafts[0].logits[0].len(), drafts.len());
    let (mut settings, mut biases, mut replays) =
        (Vec::new(), Vec::<SampleBias>::new(), Vec::new());
    for (index, draft) in drafts.iter().enumerate() {
        let slot = count - 1 - index;
        replays.push(Replay {
            slot: slot as u32,
            first: settings.len() as u32,
            count: draft.tokens.len() as u32,
            ..Replay::default()
        });
        let row = draft.case.settings.row(slot, biases.len());
        settings.extend(
            (0..)
                .take(draft.tokens.len())
                .map(|guessed| row.with_guessed(guessed)),
        );
        biases.extend(draft.case.settings.bias_list());
    }
    biases.extend(SampleBias::list([(7, 7.0)])); // one that is nobody's
    replays.push(Replay::default()); // a place that is not used
    let row_count = settings.len();
    let all = |of: fn(&Draft) -> Vec<f32>| drafts.iter().flat_map(of).collect::<Vec<_>>();
    let logits = all(|draft| draft.logits.concat());
    let counts: Vec<SampleCount> = drafts
        .iter()
        .rev()
        .flat_map(|draft| draft.case.counts.clone())
        .collect();
    let tokens: Vec<u32> = drafts
        .iter()
        .flat_map(|draft| draft.tokens.clone())
        .collect();

    let params = SampleParams::new(vocab).unwrap();
    let counts = buffer(&counts);
    let chosen = buffer(&vec![77_u32; row_count]);
    let reports = buffer(&vec![SampleReport::zeroed(); row_count]);
    let [rows, settings, logits, biases, keys, work, tokens, replays] = [
        rows(row_count, 0),
        buffer(&settings),
        buffer(&logits),
        buffer(&biases),
        buffer(&vec![u32::MAX; row_count * vocab]),
        buffer(&vec![
            0xa5a5_a5a5_u32;
            row_count * SamplePass::WORK_BYTES as usize / 4
        ]),
        buffer(&tokens),
        buffer(&replays),
    ];
    let mut plan = PlanBuilder::new(context(), "sampling guesses");
    let mut add = |kernel: Kernel, further: &[&Buffer], grid: [u32; 3]| {
        let mut bindings = vec![
            Binding::Buffer(&rows),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&settings),
        ];
        bindings.extend(further.iter().copied().map(Binding::Buffer));
        // SAFETY: this binds what the kernels' documentation asks for.
        let pipeline = unsafe { context().pipeline(&kernel) }.unwrap();
        let grid = Workgroups::Grid(grid);
        plan.dispatch(&pipeline, &bindings, grid, Work::default())
            .unwrap();
    };
    let grid = |pass: GuessPass| pass.workgroups(&params, row_count as u32 + 1, count as u32 + 1);
    let scored = [&logits, &biases, &counts, &keys, &work, &tokens];
    add(
        GuessPass::Scores.kernel().unwrap(),
        &scored,
        grid(GuessPass::Scores),
    );
    for pass in [SamplePass::Histogram, SamplePass::Gather] {
        let grid = pass.workgroups(&params, row_count as u32 + 1);
        add(pass.kernel().unwrap(), &[&keys, &work], grid);
    }
    let drawn = [&keys, &work, &counts, &chosen, &reports];
    add(
        GuessPass::Draw.kernel().unwrap(),
        &drawn,
        grid(GuessPass::Draw),
    );
    let kept = [&replays, &tokens, &chosen, &counts];
    add(
        GuessPass::Keep.kernel().unwrap(),
        &kept,
        grid(GuessPass::Keep),
    );
    plan.build().unwrap().run(context()).unwrap();

    let mut found_tokens = vec![0; row_count];
    context().read(&chosen, 0, &mut found_tokens).unwrap();
    let mut found_reports = vec![SampleReport::zeroed(); row_count];
    context().read(&reports, 0, &mut found_reports).unwrap();
    let mut found_counts = vec![SampleCount::default(); count * (1 + vocab)];
    context().read(&counts, 0, &mut found_counts).unwrap();
    let found_counts = found_counts.chunks(1 + vocab).rev().map(<[_]>::to_vec);
    (found_tokens, found_reports, found_counts.collect())
}

fn compare(drafts: &[Draft]) {
    let (tokens, reports, counts) = run(drafts);
    let mut row = 0;
    for (draft, counts) in drafts.iter().zip(counts) {
        for index in 0..draft.tokens.len() {
            let (expected, what) = (
                draft.expected(index),
                format!("row {index} of {:?}", draft.case),
            );
            assert_same(&reports[row], &expected, &what);
            assert_eq!(tokens[row], expected.token().unwrap_or(NO_TOKEN), "{what}");
            row += 1;
        }
        assert!(
            counts == draft.expected_counts(),
            "counts of {:?}",
            draft.case
        );
    }
}

#[test]
fn rows_of_guesses_are_what_single_rows_are() {
    for (group, vocab) in [(0, 33), (1, 1025), (2, 4099)] {
        let draft = |index: u64| {
            let (rows, wrong_at) = (1 + index as usize % 6, 1 + index as usize / 6);
            Draft::new(100 * group + index, vocab, rows, wrong_at)
        };
        let drafts: Vec<Draft> = (0..30).map(draft).collect();
        compare(&drafts);
    }
}

#[test]
fn nothing_counts_from_a_row_on_that_is_not_finite() {
    for lost in 0..4 {
        let mut drafts = [5, 6, 7].map(|seed| Draft::new(seed, 1025, 4, 9));
        drafts[1].logits[lost][700] = f32::NAN;
        compare(&drafts);
    }
}
