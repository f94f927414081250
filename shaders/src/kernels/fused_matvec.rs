//! `fused_matvec.wgsl`: products with one token, and the norm and the token shift before them.

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::product::{BINDINGS, HIDDEN_SCALE, MAX_JOBS};
use super::template::render;
use super::{Binding, Kernel, Variant};
use crate::{Encoding, Error, SPAN};

/// Matrices of one or several encodings times one token, a [`Job`](super::Job) for each, in the same order. A matrix with
/// fewer spans a row than others has no place in their dispatch.
///
/// Bindings: rows, jobs, vectors, weights, input, out; with a norm its [`NormParams`]; with a token shift the normed row
/// of the token before, `[width]`, and where that of this token goes, `[width]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FusedMatvec {
    /// The matrices, at most [`MAX_JOBS`].
    pub matrices: Vec<FusedMatrix>,
    /// Spans of a row of each matrix.
    pub spans: u32,
    /// What happens to the input before.
    pub input: FusedInput,
    /// Whether sums are made by subgroup operations, and over how many of the lanes at once: a power of two of at least
    /// [`FusedMatvec::rows`] that no subgroup falls short of. 0: by workgroup memory alone.
    pub shuffled: u32,
    /// Invocations that share rows: a power of two.
    pub lanes: u32,
    /// Rows that they share. Where some matrices meet integers, those of floats have them share one, as their rows take
    /// several times as long.
    pub rows: u32,
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Spans of each row that an invocation has under way.
    pub depth: u32,
    /// Whether the input is rounded to 8-bit integers before it meets a matrix of integers, see
    /// [`twins::quantise`](crate::twins::quantise). Matrices of floats always meet floats.
    pub integers: bool,
    /// Whether results are stored rounded, as the kernel after this one wants them that has a
    /// [rounded input](FusedInput::Rounded). There is one matrix then, and a workgroup has [whole sixteens](Self::can_round_output).
    pub rounds_output: bool,
}

impl FusedInput {
    /// All inputs.
    pub const ALL: [FusedInput; 4] = [
        FusedInput::Plain,
        FusedInput::Rounded,
        FusedInput::Norm,
        FusedInput::NormShift,
    ];
}

/// What a span of rounded numbers takes: 32 8-bit integers, then the step and the sum of the first 16, then those of the
/// others.
pub const ROUNDED_SPAN_VEC4S: usize = 3;

/// What the kernel knows of a matrix beforehand, so that its workgroups find theirs without asking memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FusedMatrix {
    /// How it is encoded.
    pub encoding: Encoding,
    /// Its rows.
    pub rows: u32,
}

/// What happens to an input before it is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FusedInput {
    /// Nothing.
    Plain,
    /// It has been rounded by the kernel before, [`ROUNDED_SPAN_VEC4S`] for each span. All matrices are of integers.
    Rounded,
    /// Layer norm. The input is row `rows.first` of its buffer.
    Norm,
    /// Layer norm, then token shift by each job's `mix`. The input is the first row of its buffer.
    NormShift,
}

/// Parameters of the norm.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct NormParams {
    /// First vec4 of the weight in vectors.
    pub weight: u32,
    /// First vec4 of the bias in vectors.
    pub bias: u32,
    /// What is added to the variance.
    pub epsilon: f32,
    /// Uniform structs are whole vec4s.
    pub padding: u32,
}

impl FusedMatvec {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        const NORM: &[Binding] = &[Read, Uniform, Read, Read, Read, ReadWrite, Uniform];
        const SHIFT: &[Binding] = &[
            Read, Uniform, Read, Read, Read, ReadWrite, Uniform, Read, ReadWrite,
        ];
        let FusedMatvec {
            spans,
            lanes,
            rows,
            workgroup,
            depth,
            ..
        } = *self;
        let subgroup = self.shuffled > 0;
        let shuffled = self.shuffled.min(lanes);
        let integers = self.meets_integers();
        let encodings = self.encodings();
        let names: Vec<&str> = encodings.iter().map(|encoding| encoding.name()).collect();
        let (input, bindings) = match self.input {
            FusedInput::Plain => ("plain", BINDINGS),
            FusedInput::Rounded => ("rounded", BINDINGS),
            FusedInput::Norm => ("norm", NORM),
            FusedInput::NormShift => ("shift", SHIFT),
        };
        let level = if subgroup { "subgroup" } else { "plain" };
        let number = if integers { ".int8" } else { "" };
        let stored = if self.rounds_output { ".to_int8" } else { "" };
        let name = format!(
            "fused_matvec.{}.{input}.{spans}{number}{stored}.{level}",
            names.join("_")
        );
        let integer_encodings: Vec<usize> = (0..encodings.len())
            .filter(|index| encodings[*index].has_integers())
            .collect();
        let pair_encodings: Vec<usize> = (0..encodings.len())
            .filter(|index| encodings[*index].has_pairs())
            .collect();
        let templates: Vec<String> = encodings
            .iter()
            .map(|encoding| encoding.template())
            .collect();
        let rounded = self.input == FusedInput::Rounded;
        let mut first_workgroup = 0;
        let mut matrices = Vec::new();
        for (index, matrix) in self.matrices.iter().enumerate() {
            let encoding = encodings.iter().position(|known| *known == matrix.encoding);
            let rows = matrix.rows;
            let shared_rows = self.shared_rows(matrix.encoding);
            matrices.push(context! { index, encoding, rows, shared_rows, first_workgroup });
            first_workgroup += self.workgroups_of(matrix);
        }
        let (norm, shift) = (self.has_norm(), self.input == FusedInput::NormShift);
        let values = context! {
            encodings => templates, max_jobs => MAX_JOBS, matrices,
            hidden_scale => HIDDEN_SCALE, input => if rounded { "vec4<u32>" } else { "vec4<f32>" },
            output => if self.rounds_output { "u32" } else { "f32" },
            spans, lanes, rows, workgroup, depth, subgroup, shuffled, norm, shift, rounded,
            integers, integer_encodings, rounds_output => self.rounds_output, halves => self.padded_halves(),
            pair_encodings, span_pairs => integers,
            unequal => encodings.iter().any(|encoding| self.shared_rows(*encoding) != self.rows),
        };
        Ok(Kernel {
            variant: Variant {
                subgroup,
                dot4: integers,
                ..Variant::PLAIN
            },
            wgsl: render(&name, "fused_matvec.wgsl", values)?,
            bindings,
            constants: vec![],
            workgroup_size: [workgroup, 1, 1],
            workgroup_bytes: self.workgroup_bytes(),
            name,
        })
    }

    /// Bytes of workgroup memory that it takes.
    pub fn workgroup_bytes(&self) -> u32 {
        let norm = match self.has_norm() {
            false => 0,
            true => {
                let vec4s = self.spans * 8;
                // Two sums of each subgroup, of four or more; or one of each invocation.
                let parts = if self.shuffled > 0 {
                    self.workgroup / 2
                } else {
                    self.workgroup
                };
                16 * (vec4s + vec4s.div_ceil(16)) + 4 * parts
            }
        };
        let groups = self.workgroup / self.lanes;
        let sums = match self.shuffled {
            0 => 4 * groups * self.rows * (self.lanes + 1),
            shuffled if shuffled < self.lanes => 4 * self.workgroup / shuffled * self.rows,
            _ => 0,
        };
        let integers = match self.meets_integers() && self.input != FusedInput::Rounded {
            true => 16 * self.padded_halves() + 8 * 2 * self.spans,
            false => 0,
        };
        let finished = if self.rounds_output {
            4 * groups * self.rows
        } else {
            0
        };
        norm + sums + integers + finished
    }

    /// Whether workgroups have whole sixteens of rows, as [`rounds_output`](Self::rounds_output) demands.
    pub fn can_round_output(&self) -> bool {
        let rows = self.workgroup / self.lanes * self.rows;
        let [matrix] = self.matrices.as_slice() else {
            return false;
        };
        rows.is_multiple_of(16) && matrix.rows.is_multiple_of(SPAN as u32)
    }

    /// The encodings of the matrices, each once.
    fn encodings(&self) -> Vec<Encoding> {
        let mut distinct = Vec::new();
        for matrix in &self.matrices {
            if !distinct.contains(&matrix.encoding) {
                distinct.push(matrix.encoding);
            }
        }
        distinct
    }

    /// Whether any matrix meets integers.
    fn meets_integers(&self) -> bool {
        let mut encodings = self.matrices.iter().map(|matrix| matrix.encoding);
        self.integers && encodings.any(Encoding::has_integers)
    }

    fn has_norm(&self) -> bool {
        matches!(self.input, FusedInput::Norm | FusedInput::NormShift)
    }

    /// Halves of the input in whole eights, as their integers lie.
    fn padded_halves(&self) -> u32 {
        (2 * self.spans).next_multiple_of(8)
    }

    /// Workgroups for all matrices. The kernel counts `y * num_workgroups.x + x` through all of them.
    pub fn workgroups(&self) -> u32 {
        let matrices = self.matrices.iter();
        matrices.map(|matrix| self.workgroups_of(matrix)).sum()
    }

    fn workgroups_of(&self, matrix: &FusedMatrix) -> u32 {
        let groups = self.workgroup / self.lanes;
        matrix
            .rows
            .div_ceil(groups * self.shared_rows(matrix.encoding))
    }

    fn shared_rows(&self, encoding: Encoding) -> u32 {
        match self.meets_integers() && !encoding.has_integers() {
            true => 1,
            false => self.rows,
        }
    }
}
