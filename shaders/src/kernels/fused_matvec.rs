//! `fused_matvec.wgsl`: products with one token, and the norm and the token shift before them.

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::product::{BINDINGS, HIDDEN_SCALE, MAX_JOBS};
use super::template::render;
use super::{Binding, Kernel, Variant};
use crate::{Encoding, Error, twins};

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
    /// Rows that they share.
    pub rows: u32,
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Spans of each row that an invocation has under way.
    pub depth: u32,
    /// Bytes of the integers that the input is rounded to before it meets a matrix of integers, see
    /// [`twins::quantise`](crate::twins::quantise): 1 to 3, or 0 to keep its floats. Matrices of floats always meet floats.
    pub digits: u32,
}

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
        let digits = self.digits();
        let encodings = self.encodings();
        let names: Vec<&str> = encodings.iter().map(|encoding| encoding.name()).collect();
        let (input, bindings) = match self.input {
            FusedInput::Plain => ("plain", BINDINGS),
            FusedInput::Norm => ("norm", NORM),
            FusedInput::NormShift => ("shift", SHIFT),
        };
        let level = if subgroup { "subgroup" } else { "plain" };
        let number = match digits {
            0 => String::new(),
            digits => format!(".int{}", 8 * digits),
        };
        let name = format!(
            "fused_matvec.{}.{input}.{spans}{number}.{level}",
            names.join("_")
        );
        let integer_encodings: Vec<usize> = (0..encodings.len())
            .filter(|index| encodings[*index].has_integers())
            .collect();
        let templates: Vec<String> = encodings
            .iter()
            .map(|encoding| encoding.template())
            .collect();
        let mut first_workgroup = 0;
        let mut matrices = Vec::new();
        for (index, matrix) in self.matrices.iter().enumerate() {
            let encoding = encodings.iter().position(|known| *known == matrix.encoding);
            let rows = matrix.rows;
            matrices.push(context! { index, encoding, rows, first_workgroup });
            first_workgroup += self.workgroups_of(rows);
        }
        let (norm, shift) = (
            self.input != FusedInput::Plain,
            self.input == FusedInput::NormShift,
        );
        let values = context! {
            encodings => templates, max_jobs => MAX_JOBS, matrices,
            hidden_scale => HIDDEN_SCALE, input => "vec4<f32>", output => "f32",
            spans, lanes, rows, workgroup, depth, subgroup, shuffled, norm, shift,
            digits, integer_encodings, halves => self.padded_halves(),
            largest_integer => if digits > 0 { twins::largest_integer(digits) } else { 0 },
            digit_signs => 0x80_8080 & ((1 << (8 * digits)) - 1),
        };
        Ok(Kernel {
            variant: Variant {
                subgroup,
                dot4: digits > 0,
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
        let norm = match self.input {
            FusedInput::Plain => 0,
            _ => {
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
        let digits = match self.digits() {
            0 => 0,
            digits => 16 * digits * self.padded_halves() + 8 * 2 * self.spans,
        };
        norm + sums + digits
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

    /// Digits of the input, if any matrix has a use for them.
    fn digits(&self) -> u32 {
        let has_integers = self
            .matrices
            .iter()
            .any(|matrix| matrix.encoding.has_integers());
        if has_integers { self.digits } else { 0 }
    }

    /// Halves of the input in whole eights, as the digits lie.
    fn padded_halves(&self) -> u32 {
        (2 * self.spans).next_multiple_of(8)
    }

    /// Workgroups for all matrices. The kernel counts `y * num_workgroups.x + x` through all of them.
    pub fn workgroups(&self) -> u32 {
        let rows = self.matrices.iter().map(|matrix| matrix.rows);
        rows.map(|rows| self.workgroups_of(rows)).sum()
    }

    fn workgroups_of(&self, rows: u32) -> u32 {
        rows.div_ceil(self.workgroup / self.lanes * self.rows)
    }
}
