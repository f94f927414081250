//! `matvec.wgsl` and `matmul.wgsl`: products with weight matrices that are decoded on the way.

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Number, Variant};
use crate::{Encoding, Error};

/// One matrix of a dispatch, which may take several as long as they share their encoding and their buffers.
///
/// `out[t][output + row] = epilogue(sum over columns of matrix[row][column] * input[t][column])`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Job {
    /// First vec4 of the matrix in the weights.
    pub weights: u32,
    /// vec4s of an encoded row.
    pub weights_stride: u32,
    /// Rows of the matrix; 0 in a place that is not used.
    pub rows: u32,
    /// Spans of a row. The input's rows must have as many columns, those beyond the matrix's with any finite number.
    pub spans: u32,
    /// First vec4 of the first token's row in the input.
    pub input: u32,
    /// vec4s from a token's row to the next.
    pub input_stride: u32,
    /// First vec4 in vectors of what the token shift mixes by, or [`NO_MIX`].
    pub mix: u32,
    /// First element of the first token's row in the output.
    pub output: u32,
    /// Elements from a token's row to the next.
    pub output_stride: u32,
    /// An [`Epilogue`].
    pub epilogue: u32,
    /// First element in vectors of the epilogue's bias.
    pub bias: u32,
    /// First element in the output of the first layer's values, for [`Epilogue::ValueResidual`].
    pub first_value: u32,
}

/// [`Job::mix`] of an input that is taken as it is.
pub const NO_MIX: u32 = u32::MAX;

/// What [`Epilogue::ReluSquared`] multiplies by where results are stored as f16, whose range ends at 65,504.
pub const HIDDEN_SCALE: f32 = 0.0625;

/// Jobs of one dispatch.
pub const MAX_JOBS: usize = 40;

/// What becomes of a product `p` before it is stored; `b` is the row's bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Epilogue {
    /// `p`
    Store = 0,
    /// `tanh(p)`
    Tanh = 1,
    /// `sigmoid(p)`
    Sigmoid = 2,
    /// `sigmoid(b + p)`, the in-context learning rate.
    Iclr = 3,
    /// `exp(-exp(-1/2) * sigmoid(b + p))`, the decay.
    Decay = 4,
    /// `v + (v_first - v) * sigmoid(b + p)` where v is what the output holds.
    ValueResidual = 5,
    /// `max(p, 0)^2`; stored as f16 it is scaled to stay in range.
    ReluSquared = 6,
    /// `x + p` where x is what the output holds.
    Add = 7,
    /// `x + p / HIDDEN_SCALE`, after [`Epilogue::ReluSquared`] was stored as f16.
    AddUnscaled = 8,
}

impl Epilogue {
    /// All epilogues, in the order of their numbers.
    pub const ALL: [Epilogue; 9] = [
        Epilogue::Store,
        Epilogue::Tanh,
        Epilogue::Sigmoid,
        Epilogue::Iclr,
        Epilogue::Decay,
        Epilogue::ValueResidual,
        Epilogue::ReluSquared,
        Epilogue::Add,
        Epilogue::AddUnscaled,
    ];
}

/// The jobs as the kernels expect them: [`MAX_JOBS`] of them, those beyond the given ones without rows.
pub fn pad_jobs(jobs: &[Job]) -> [Job; MAX_JOBS] {
    let mut padded = [Job::zeroed(); MAX_JOBS];
    padded
        .iter_mut()
        .zip(jobs)
        .for_each(|(padded, job)| *padded = *job);
    padded
}

/// rows, jobs, vectors, weights, input, out
pub(super) const BINDINGS: &[Binding] = &[
    Binding::Read,
    Binding::Uniform,
    Binding::Read,
    Binding::Read,
    Binding::Read,
    Binding::ReadWrite,
];

/// A matrix times one or a few tokens. Bindings: rows, jobs, vectors, weights, input, out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Matvec {
    /// How the matrices are encoded.
    pub encoding: Encoding,
    /// The most tokens it can take: one of [`Matvec::COLUMNS`].
    pub columns: u32,
    /// Invocations that share a row: a power of two, at most [`Matvec::MOST_LANES`]. A row should have more spans than that.
    pub lanes: u32,
}

impl Matvec {
    /// The numbers of tokens that there are kernels for.
    pub const COLUMNS: [u32; 4] = [1, 2, 4, 8];
    /// Invocations that share a row of ordinary length.
    pub const DEFAULT_LANES: u32 = 32;
    /// The most invocations that can share a row.
    pub const MOST_LANES: u32 = Self::WORKGROUP;
    const WORKGROUP: u32 = 128;

    /// Rows that the same invocations compute: as many as keep the sums and weights in registers.
    fn rows(&self) -> u32 {
        if self.columns <= 2 { 4 } else { 2 }
    }

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        let Matvec {
            encoding,
            columns,
            lanes,
        } = *self;
        let name = format!("matvec.{}.{columns}", encoding.name());
        let rows = self.rows();
        let values = context! { encodings => [encoding.template()], max_jobs => MAX_JOBS, rows, columns, hidden_scale => HIDDEN_SCALE, input => "vec4<f32>", output => "f32" };
        Ok(Kernel {
            variant: Variant::PLAIN,
            wgsl: render(&name, "matvec.wgsl", values)?,
            bindings: BINDINGS,
            constants: vec![
                ("WORKGROUP", Self::WORKGROUP.into()),
                ("LANES", lanes.into()),
            ],
            workgroup_size: [Self::WORKGROUP, 1, 1],
            workgroup_bytes: 4 * (Self::WORKGROUP / lanes) * rows * columns * (lanes + 1),
            name,
        })
    }

    /// Workgroups for each job if the largest has `rows` rows. They may be folded: the kernel counts
    /// `y * num_workgroups.x + x`. The grid's z is the number of jobs.
    pub fn workgroups(&self, rows: u32) -> u32 {
        rows.div_ceil(Self::WORKGROUP / self.lanes * self.rows())
    }
}

/// A matrix times many tokens. Bindings: rows, jobs, vectors, weights, input, out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Matmul {
    /// How the matrices are encoded.
    pub encoding: Encoding,
    /// Invocations a side of the workgroup: one of [`Matmul::BLOCK_SIZES`].
    pub block_size: u32,
    /// What inputs are stored as, and what they and the weights are rounded to; products and sums are f32.
    pub operand: Number,
    /// What the results are stored as.
    pub output: Number,
}

impl Matmul {
    /// The block sizes that there are kernels for; 32 needs a device with workgroups of 1,024 invocations.
    pub const BLOCK_SIZES: [u32; 3] = [8, 16, 32];
    /// The block size for devices that nothing else is known of.
    pub const DEFAULT_BLOCK_SIZE: u32 = 16;

    /// Rows and tokens that an invocation computes. Its tiles must fit into 16 KiB of workgroup memory.
    pub(super) fn outputs(block_size: u32) -> [u32; 2] {
        if block_size < 32 { [8, 4] } else { [4, 2] }
    }

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        let Matmul {
            encoding,
            block_size,
            operand,
            output,
        } = *self;
        let name = format!(
            "matmul.{}.{}.{}.{block_size}",
            encoding.name(),
            operand.name(),
            output.name()
        );
        let [tile_rows, tile_tokens] = Matmul::outputs(block_size);
        let values = context! {
            encodings => [encoding.template()], max_jobs => MAX_JOBS, tile_rows, tile_tokens, hidden_scale => HIDDEN_SCALE,
            input => operand.vec4(), operand => operand.name(), output => output.name(),
        };
        let row_bytes = 5 * 4 * operand.bytes();
        Ok(Kernel {
            variant: Number::variant_of([operand, output]),
            wgsl: render(&name, "matmul.wgsl", values)?,
            bindings: BINDINGS,
            constants: vec![("BLOCK_SIZE", block_size.into())],
            workgroup_size: [block_size, block_size, 1],
            workgroup_bytes: (tile_rows + tile_tokens) * block_size * row_bytes,
            name,
        })
    }

    /// Rows and tokens that a workgroup computes.
    pub fn tile(block_size: u32) -> [u32; 2] {
        Matmul::outputs(block_size).map(|outputs| outputs * block_size)
    }

    /// The grid for `jobs` jobs, the largest of `rows` rows, and at most `tokens` tokens.
    pub fn workgroups(&self, jobs: u32, rows: u32, tokens: u32) -> [u32; 3] {
        let [tile_rows, tile_tokens] = Matmul::tile(self.block_size);
        [rows.div_ceil(tile_rows), tokens.div_ceil(tile_tokens), jobs]
    }
}
