//! The buffers that a forward pass works in, for up to a chunk of tokens.

use bytemuck::{bytes_of, cast_slice};
use thalweg_gpu::{Binding, Buffer, Context, Limits, ReadBuffer};
use thalweg_shaders::SPAN;
use thalweg_shaders::kernels::{Link, Number, Rows, Sequence, Slot};

use super::arrangement::Arrangement;
use super::products::MOST_PARTS;
use crate::{Error, Hyperparameters};

/// Most tokens whose logits are computed at a time; more are computed in turns, unless there are as many sequences.
const HEAD_ROWS: usize = 64;
/// Numbers that there is room for in products computed in parts: so many tokens times channels times parts.
pub(super) const PARTS_NUMBERS: usize = 8 << 20;
/// What time mixing mixes: the inputs of r, w, k, v, a and g.
const MIXES: usize = 6;
/// Where the parts of the input buffer begin: as far apart as any device wants its bindings.
const PART_BYTES: u64 = 256;

/// The low-rank pairs, in the order in which their hidden vectors lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pair {
    Decay,
    Iclr,
    ValueResidual,
    Gate,
}

/// What a run is told about its rows.
#[derive(Debug, Clone, Copy)]
enum Input {
    /// The rows of the pass, [`Rows`].
    All,
    /// Those of sequences with several tokens, likewise.
    Longer,
    /// Those of sequences with one token, likewise.
    Single,
    /// Those of the head among the picks, likewise.
    Head,
    /// Token ids.
    Tokens,
    /// A [`Link`] for each row.
    Links,
    /// The rows whose logits are wanted.
    Picks,
    /// The longer sequences, each a [`Sequence`].
    Sequences,
}

impl Input {
    const COUNT: usize = 8;

    /// Bytes of each in turn, for so many rows.
    fn sizes(rows: usize) -> [usize; Input::COUNT] {
        let one = size_of::<Rows>();
        let (link, sequence) = (size_of::<Link>(), size_of::<Sequence>());
        [
            one,
            one,
            one,
            one,
            4 * rows,
            link * rows,
            4 * rows,
            sequence * rows,
        ]
    }
}

#[derive(Debug)]
pub(super) struct Activations {
    /// Tokens that there is room for.
    pub(super) capacity: usize,
    /// Rows that the output matrix takes at a time.
    pub(super) head_capacity: usize,
    /// What is written before each run, one [`Input`] after the other.
    inputs: Buffer,
    /// Where they begin, in bytes, and where the last one ends.
    input_offsets: [u64; Input::COUNT + 1],
    /// The residual stream, `[tokens, width]`.
    pub(super) x: Buffer,
    /// What it began with, for rows that get no token in the next step, `[tokens, width]`.
    pub(super) embedded: Buffer,
    /// Layer-normed x mixed with its predecessors, `[mixes, tokens, width]`, in the order of the mixes.
    pub(super) mixes: Buffer,
    /// `[slots, tokens, width]`, see [`Slot`]; for one token its hidden vectors follow.
    pub(super) mixed: Buffer,
    /// The hidden vectors of the low-rank pairs, one pair after the other, each `[tokens, rank]`, ranks padded to spans.
    pub(super) hidden: Buffer,
    /// The same in 16 bits, apart from them so that what pads the ranks stays zero in both.
    pub(super) hidden_halves: Buffer,
    /// Spans of each pair's rank.
    rank_spans: [usize; 4],
    /// What the recurrence puts out, `[tokens, width]`.
    pub(super) y: Buffer,
    /// The input of the output matrix of time mixing, `[tokens, width]`.
    pub(super) gated: Buffer,
    /// Products that are computed in parts, each of [`PARTS_NUMBERS`] in all.
    pub(super) parts: Buffer,
    /// Hidden channels of channel mixing, `[tokens, ffn]`, padded to spans.
    pub(super) ffn_hidden: Buffer,
    /// Layer-normed x of the rows whose logits are wanted, `[head rows, width]`.
    pub(super) head_normed: Buffer,
    /// `[head rows, vocab]`
    pub(super) logits: Buffer,
    /// The same for the host.
    pub(super) logits_read: ReadBuffer,
}

impl Activations {
    /// The most tokens of a chunk on a device with such limits.
    pub(super) fn largest_capacity(hp: &Hyperparameters, limits: &Limits) -> usize {
        let bytes = limits.storage_binding_bytes.min(limits.buffer_bytes) as usize;
        let largest_row = 4 * (Slot::COUNT as usize * hp.width).max(padded(hp.ffn));
        (bytes / largest_row).min(limits.workgroups_per_dimension as usize)
    }

    /// Room for `capacity` tokens in a step, and for the logits of so many sequences at a time.
    pub(super) fn new(
        context: &Context,
        hp: &Hyperparameters,
        capacity: usize,
        sequences: usize,
    ) -> Result<Activations, Error> {
        let limits = context.limits();
        let row = |numbers: usize| 4 * numbers as u64;
        let largest_head =
            (limits.storage_binding_bytes.min(limits.buffer_bytes) / row(hp.vocab)) as usize;
        let head_rows = HEAD_ROWS.max(sequences);
        let head_capacity = head_rows.min(capacity).min(largest_head.max(1));
        let ranks = [
            hp.ranks.decay,
            hp.ranks.iclr,
            hp.ranks.value_residual,
            hp.ranks.gate,
        ];
        let rank_spans = ranks.map(|rank| rank.div_ceil(SPAN));
        let hidden: usize = rank_spans.iter().sum::<usize>() * SPAN;
        let rows = |label: &str, count: usize, numbers: usize| {
            context.buffer(
                &format!("intermediate results ({label})"),
                count as u64 * row(numbers),
            )
        };
        let input_offsets = input_offsets(capacity);
        Ok(Activations {
            capacity,
            head_capacity,
            inputs: context.buffer("the rows of a step", input_offsets[Input::COUNT])?,
            input_offsets,
            x: rows("x", capacity, hp.width)?,
            embedded: rows("embedded", capacity, hp.width)?,
            mixes: rows("mixes", capacity, MIXES * hp.width)?,
            mixed: context.buffer(
                "intermediate results (mixed)",
                capacity as u64 * row(Slot::COUNT as usize * hp.width) + row(hidden),
            )?,
            hidden: rows("hidden", capacity, hidden)?,
            hidden_halves: rows("hidden halves", capacity, hidden.div_ceil(2))?,
            rank_spans,
            y: rows("y", capacity, hp.width)?,
            gated: rows("gated", capacity, hp.width)?,
            parts: rows("parts", 1, parts_numbers(capacity, hp))?,
            ffn_hidden: rows("ffn hidden", capacity, padded(hp.ffn))?,
            head_normed: rows("head normed", head_capacity, hp.width)?,
            logits: rows("logits", head_capacity, hp.vocab)?,
            logits_read: context.read_buffer("logits", head_capacity as u64 * row(hp.vocab))?,
        })
    }

    /// Says what the next run is about, and the head's rows. The run may have room for `longest` longer sequences.
    pub(super) fn write_inputs(
        &self,
        context: &Context,
        rows: &Arrangement,
        head: Rows,
        longest: u32,
    ) -> Result<(), Error> {
        let mut sequences = rows.longer.clone();
        sequences.resize(longest as usize, Sequence::default());
        let [all, longer, single] = [rows.rows(), rows.longer_rows(), rows.single_rows()];
        let inputs: [&[u8]; Input::COUNT] = [
            bytes_of(&all),
            bytes_of(&longer),
            bytes_of(&single),
            bytes_of(&head),
            cast_slice(&rows.tokens),
            cast_slice(&rows.links),
            cast_slice(&rows.picks),
            cast_slice(&sequences),
        ];
        let placed = inputs.into_iter().zip(self.input_offsets);
        let placed = placed.filter(|(input, _)| !input.is_empty());
        let ends = placed
            .clone()
            .map(|(input, offset)| offset as usize + input.len());
        let mut bytes = Vec::with_capacity(ends.max().unwrap_or_default());
        for (input, offset) in placed {
            bytes.resize(offset as usize, 0);
            bytes.extend_from_slice(input);
        }
        Ok(context.write(&self.inputs, 0, &bytes)?)
    }

    /// Says which rows the next run of the head is about.
    pub(super) fn write_head_rows(&self, context: &Context, head: Rows) -> Result<(), Error> {
        let offset = self.input_offsets[Input::Head as usize];
        Ok(context.write(&self.inputs, offset, &[head])?)
    }

    /// The rows of the pass.
    pub(super) fn rows(&self) -> Binding<'_> {
        self.input(Input::All)
    }

    /// The rows of sequences with several tokens.
    pub(super) fn longer_rows(&self) -> Binding<'_> {
        self.input(Input::Longer)
    }

    /// The rows of sequences with one token.
    pub(super) fn single_rows(&self) -> Binding<'_> {
        self.input(Input::Single)
    }

    /// The rows of the head.
    pub(super) fn head_rows(&self) -> Binding<'_> {
        self.input(Input::Head)
    }

    /// The token ids.
    pub(super) fn tokens(&self) -> Binding<'_> {
        self.input(Input::Tokens)
    }

    /// The buffer that they lie in, and where.
    pub(super) fn token_place(&self) -> (&Buffer, u64) {
        (&self.inputs, self.input_offsets[Input::Tokens as usize])
    }

    /// What ties each row to its sequence.
    pub(super) fn links(&self) -> Binding<'_> {
        self.input(Input::Links)
    }

    /// The rows whose logits are wanted.
    pub(super) fn picks(&self) -> Binding<'_> {
        self.input(Input::Picks)
    }

    /// The sequences with several tokens.
    pub(super) fn sequences(&self) -> Binding<'_> {
        self.input(Input::Sequences)
    }

    fn input(&self, input: Input) -> Binding<'_> {
        Binding::Part {
            buffer: &self.inputs,
            offset: self.input_offsets[input as usize],
            bytes: Input::sizes(self.capacity)[input as usize] as u64,
        }
    }

    /// The buffer of the hidden vectors that are stored as `number`.
    pub(super) fn hidden_as(&self, number: Number) -> &Buffer {
        match number {
            Number::F32 => &self.hidden,
            Number::F16 => &self.hidden_halves,
        }
    }

    /// First elements of the pairs' hidden vectors if there is only one of each.
    pub(super) fn hidden_of_one_token(&self) -> [usize; 4] {
        std::array::from_fn(|pair| self.rank_spans[..pair].iter().sum::<usize>() * SPAN)
    }

    /// First element and row length of a pair's hidden vectors.
    pub(super) fn hidden(&self, pair: Pair) -> (usize, usize) {
        let spans_before: usize = self.rank_spans[..pair as usize].iter().sum();
        (
            spans_before * SPAN * self.capacity,
            self.rank_spans[pair as usize] * SPAN,
        )
    }
}

/// Where the inputs for so many rows begin, and where the last one ends.
fn input_offsets(rows: usize) -> [u64; Input::COUNT + 1] {
    let mut offsets = [0; Input::COUNT + 1];
    for (index, bytes) in Input::sizes(rows).into_iter().enumerate() {
        offsets[index + 1] = (offsets[index] + bytes as u64).next_multiple_of(PART_BYTES);
    }
    offsets
}

/// Numbers of the products in parts that a step of so many tokens may want.
fn parts_numbers(capacity: usize, hp: &Hyperparameters) -> usize {
    PARTS_NUMBERS.min(MOST_PARTS as usize * capacity * hp.ffn.max(3 * hp.width))
}

/// `columns` with those that fill the last span.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(SPAN)
}
