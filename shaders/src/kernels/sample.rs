//! `sample_scores.wgsl`, `sample_histogram.wgsl`, `sample_gather.wgsl`, `sample_draw.wgsl`, `sample_keep.wgsl`

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Variant};
use crate::{Error, MAX_SAMPLED_VOCAB, MAX_TOP_LOGPROBS};

/// Choosing a token for each of many rows of logits, in passes of a few microseconds each. Twin:
/// [`twins::sample`](crate::twins::sample), which chooses the same tokens.
///
/// The passes run in this order, each after the one before; the first binding of all is
/// [`Rows`](super::Rows), the second [`SampleParams`], the third [`SampleRow`](crate::SampleRow) `[rows]`.
///
/// | pass | further bindings |
/// |---|---|
/// | [`Scores`](SamplePass::Scores) | logits `[rows, vocab]`, [`SampleBias`](crate::SampleBias) list, counts, keys, work |
/// | [`Histogram`](SamplePass::Histogram) | keys, work |
/// | [`Gather`](SamplePass::Gather) | keys, work |
/// | [`Draw`](SamplePass::Draw) | keys, work, counts, tokens `[rows]`, [`SampleReport`](crate::SampleReport) `[rows]` |
///
/// Counts are [`SampleCount`](crate::SampleCount) `[slots, 1 + vocab]`; they last from token to token, and no two rows of a
/// run have the same slot. Keys (`[rows, vocab]` of 4 bytes) and work ([`WORK_BYTES`](SamplePass::WORK_BYTES) a row) are
/// scratch memory, which need hold nothing before. The biases' buffer has one entry at least, if no row has any.
///
/// Tokens are what the next step's embedding reads: [`NO_TOKEN`](crate::NO_TOKEN) for a row without one, whose report says
/// why and whose slot is as before. If all rows are greedy and none wants log-probabilities, the passes between the
/// first and the last have nothing to do and may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SamplePass {
    /// Biases, bans, penalties; the best token of each chunk.
    Scores,
    /// The row's best; how many tokens lie how far from it.
    Histogram,
    /// Where the filters cut, what is kept for certain, and a list of what is not certain.
    Gather,
    /// The last kept token, the draw, the counts, the report.
    Draw,
}

/// The passes for rows that are guesses: those of a sequence follow one another, and each is treated as if the tokens that the
/// ones before it read had been chosen for its slot ([`SampleRow::with_guessed`](crate::SampleRow::with_guessed)). `Scores` and
/// `Draw` stand in the place of those of [`SamplePass`], `Keep` comes after all others and counts what was chosen in truth.
///
/// | pass | further bindings |
/// |---|---|
/// | [`Scores`](GuessPass::Scores) | those of [`SamplePass::Scores`], the tokens that the rows read `[rows]` |
/// | [`Draw`](GuessPass::Draw) | those of [`SamplePass::Draw`], in whose tokens nothing must be that rows read |
/// | [`Keep`](GuessPass::Keep) | [`Replay`](super::Replay) `[sequences]`, the tokens that the rows read, those drawn, counts |
///
/// So what is drawn after a row means something if all rows before it in its sequence read what was drawn before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GuessPass {
    /// Biases, bans, penalties; the best token of each chunk.
    Scores,
    /// The last kept token, the draw, the report.
    Draw,
    /// The counts.
    Keep,
}

/// Parameters of every [`SamplePass`].
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct SampleParams {
    vocab: u32,
    /// Workgroups that share a row.
    chunks: u32,
    /// Uniform structs are whole vec4s.
    padding: [u32; 2],
}

impl SampleParams {
    /// For a vocabulary of 1 to [`MAX_SAMPLED_VOCAB`] tokens; none for any other.
    pub fn new(vocab: usize) -> Option<SampleParams> {
        (1..=MAX_SAMPLED_VOCAB)
            .contains(&vocab)
            .then_some(SampleParams {
                vocab: vocab as u32,
                chunks: (vocab as u32).div_ceil(BINS),
                padding: [0; 2],
            })
    }
}

const WORKGROUP: u32 = 256;
/// Bins of a histogram, tokens of a chunk, and chunks of the largest row are the same number.
const BIN_BITS: u32 = 10;
const BINS: u32 = 1 << BIN_BITS;
/// Tokens that a row's list has room for. Few distributions leave more of them uncertain; then the last pass goes
/// through the whole vocabulary.
const MAX_LISTED: u32 = 2048;
/// 32-bit numbers of a `Work` in `sample.wgsl` before its arrays.
const WORK_HEAD: u32 = 16;
/// 32-bit numbers of a `Chunk`.
const CHUNK_NUMBERS: u32 = 5;

const BINS_BYTES: u32 = 4 * 3 * BINS;
const TALLY_BYTES: u32 = 12;
/// What `sample_cut.wgsl` keeps: tallies of groups of invocations, a cut.
const CUT_BYTES: u32 = TALLY_BYTES * WORKGROUP + 4 + 2 * TALLY_BYTES;

impl SamplePass {
    /// All passes in the order in which they run.
    pub const ALL: [SamplePass; 4] = [
        SamplePass::Scores,
        SamplePass::Histogram,
        SamplePass::Gather,
        SamplePass::Draw,
    ];

    /// Bytes of scratch memory that a row takes beside its keys.
    pub const WORK_BYTES: u64 =
        4 * (WORK_HEAD + (CHUNK_NUMBERS + 3) * BINS + 2 * MAX_LISTED) as u64;

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(self) -> Result<Kernel, Error> {
        // What several workgroups write at once is atomic.
        let (listed, bins) = match self {
            SamplePass::Histogram => ("u32", "array<atomic<u32>, BINS>"),
            SamplePass::Gather => ("atomic<u32>", "array<vec4<u32>, BINS / 4u>"),
            SamplePass::Scores | SamplePass::Draw => ("u32", "array<u32, BINS>"),
        };
        Ok(Kernel {
            bindings: self.bindings(),
            workgroup_bytes: self.workgroup_bytes(),
            ..kernel(
                self.name(),
                self.name(),
                context! { listed, bins, guessed => false },
            )?
        })
    }

    /// The grid for at most `rows` rows.
    pub fn workgroups(self, params: &SampleParams, rows: u32) -> [u32; 3] {
        match self {
            SamplePass::Draw => [rows, 1, 1],
            _ => [params.chunks, rows, 1],
        }
    }

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            SamplePass::Scores => "sample_scores",
            SamplePass::Histogram => "sample_histogram",
            SamplePass::Gather => "sample_gather",
            SamplePass::Draw => "sample_draw",
        }
    }

    fn bindings(self) -> &'static [Binding] {
        use Binding::{Read, ReadWrite, Uniform};
        match self {
            SamplePass::Scores => &[Read, Uniform, Read, Read, Read, Read, ReadWrite, ReadWrite],
            SamplePass::Histogram | SamplePass::Gather => &[Read, Uniform, Read, Read, ReadWrite],
            SamplePass::Draw => &[
                Read, Uniform, Read, Read, Read, ReadWrite, ReadWrite, ReadWrite,
            ],
        }
    }

    fn workgroup_bytes(self) -> u32 {
        match self {
            SamplePass::Scores => 12,
            SamplePass::Histogram => BINS_BYTES + 8,
            SamplePass::Gather => CUT_BYTES + 16,
            SamplePass::Draw => BINS_BYTES + CUT_BYTES + 28 + 8 * MAX_TOP_LOGPROBS as u32,
        }
    }
}

impl GuessPass {
    /// All of them.
    pub const ALL: [GuessPass; 3] = [GuessPass::Scores, GuessPass::Draw, GuessPass::Keep];

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let values = context! { listed => "u32", bins => "array<u32, BINS>", guessed => true };
        Ok(match self {
            GuessPass::Scores => Kernel {
                bindings: &[
                    Read, Uniform, Read, Read, Read, Read, ReadWrite, ReadWrite, Read,
                ],
                workgroup_bytes: SamplePass::Scores.workgroup_bytes(),
                ..kernel("sample_scores.guessed", "sample_scores", values)?
            },
            GuessPass::Draw => Kernel {
                bindings: &[Read, Uniform, Read, Read, Read, Read, ReadWrite, ReadWrite],
                workgroup_bytes: SamplePass::Draw.workgroup_bytes(),
                ..kernel("sample_draw.guessed", "sample_draw", values)?
            },
            GuessPass::Keep => Kernel {
                bindings: &[Read, Uniform, Read, Read, Read, Read, ReadWrite],
                workgroup_size: [1, 1, 1],
                ..kernel("sample_keep.guessed", "sample_keep", values)?
            },
        })
    }

    /// The grid for at most so many rows of at most so many sequences.
    pub fn workgroups(self, params: &SampleParams, rows: u32, sequences: u32) -> [u32; 3] {
        match self {
            GuessPass::Scores => SamplePass::Scores.workgroups(params, rows),
            GuessPass::Draw => SamplePass::Draw.workgroups(params, rows),
            GuessPass::Keep => [sequences, 1, 1],
        }
    }
}

/// A kernel of this file, from what its template is told besides sizes; without bindings and workgroup memory.
fn kernel(name: &str, template: &str, values: minijinja::Value) -> Result<Kernel, Error> {
    let sizes = context! {
        workgroup => WORKGROUP, bin_bits => BIN_BITS, max_listed => MAX_LISTED, max_top => MAX_TOP_LOGPROBS,
    };
    let values = context! { ..values, ..sizes };
    Ok(Kernel {
        name: name.to_owned(),
        variant: Variant::PLAIN,
        wgsl: render(name, &format!("{template}.wgsl"), values)?,
        bindings: &[],
        constants: Vec::new(),
        workgroup_size: [WORKGROUP, 1, 1],
        workgroup_bytes: 0,
    })
}
