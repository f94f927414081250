//! The WGSL kernels and what the host must know to run them.
//!
//! Each kernel is a template in `wgsl/`, completed by the snippets it includes. A type in this module stands for it:
//! its fields are what the template is specialised by, its `kernel` method gives the finished [`Kernel`], its
//! `workgroups` method the grid. [`registry`] lists every specialisation that the runtime uses, so that tests reach
//! all of them; [`probes`] are kernels that find out what a device can do, [`unfused`] those that fused ones are measured
//! beside.
//!
//! Rows (of tokens) are counted in a small buffer, [`Rows`], that is written before each run: a plan made for a chunk
//! serves every shorter one too.

mod add_parts;
mod embedding;
mod fused_matvec;
mod layer_norm;
mod matmul_coop;
mod matmul_dot4;
mod norm_mix;
mod probe;
mod product;
mod row_workgroup;
mod sample;
mod sequences;
mod template;
mod time_mix;
mod time_mix_step;
mod unfused;

use crate::{Encoding, Error};

pub use add_parts::{AddParts, AddPartsParams};
pub use embedding::{Embedding, EmbeddingParams};
pub use fused_matvec::{FusedInput, FusedMatrix, FusedMatvec, NormParams, ROUNDED_SPAN_VEC4S};
pub use layer_norm::{LayerNorm, LayerNormParams};
pub use matmul_coop::{CoopTile, MatmulCoop};
pub use matmul_dot4::MatmulDot4;
pub use norm_mix::{NormMix, NormMixParams, NormRows};
pub use probe::{
    ProbeCoop, ProbeCoopParams, ProbeFma, ProbeFmaParams, ProbeRead, ProbeReadParams, ProbeStep,
    probes,
};
pub use product::{Epilogue, HIDDEN_SCALE, Job, MAX_JOBS, Matmul, Matvec, NO_MIX, pad_jobs};
pub use row_workgroup::RowWorkgroup;
pub use sample::{GuessPass, SampleParams, SamplePass};
pub use sequences::{Link, NO_SLOT, Replay, Sequence};
pub use template::templates_hash;
pub use time_mix::{
    HEAD_SIZE, HeadStep, Readout, RemovalKey, Slot, TimeMixParams, Wkv7, Wkv7Apply, Wkv7Prepare,
    Wkv7Replay,
};
pub use time_mix_step::{LowRankParams, TimeMixStep, TimeMixStepParams};
pub use unfused::{Unfused, UnfusedOperation, UnfusedParams, unfused};

/// A kernel, ready to be compiled. Its entry point is `main`, its bindings are group 0, numbered from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// The template's name and what it is specialised by, as in `matvec.q4_k.1`.
    pub name: String,
    /// What it asks of the device beyond plain WGSL.
    pub variant: Variant,
    /// The WGSL module.
    pub wgsl: String,
    /// Its bindings, in the order of their numbers.
    pub bindings: &'static [Binding],
    /// Its `override` constants with the values to use.
    pub constants: Vec<(&'static str, f64)>,
    /// Invocations of a workgroup in each dimension, under these constants.
    pub workgroup_size: [u32; 3],
    /// Bytes of workgroup memory, under these constants.
    pub workgroup_bytes: u32,
}

/// What a kernel asks of the device beyond WGSL 1.0 and the limits that every WebGPU device has: 8 storage bindings,
/// 16 KiB of workgroup memory, 256 invocations ([`Matmul`] and [`MatmulDot4`] with a block size of 32 ask for 1,024, others for as
/// many as a [`RowWorkgroup`] or subgroups bring along).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Subgroup operations.
    pub subgroup: bool,
    /// 16-bit floats.
    pub f16: bool,
    /// Cooperative matrices.
    pub coop: bool,
    /// Integer dot products, which WGSL 1.0 has, but which are slow where hardware has not.
    pub dot4: bool,
}

impl Variant {
    /// Nothing beyond what every device has.
    pub const PLAIN: Variant = Variant {
        subgroup: false,
        f16: false,
        coop: false,
        dot4: false,
    };
}

/// What activations are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Number {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, for precision fast.
    F16,
}

impl Number {
    /// Its name in WGSL.
    pub fn name(self) -> &'static str {
        match self {
            Number::F32 => "f32",
            Number::F16 => "f16",
        }
    }

    /// Bytes of one.
    fn bytes(self) -> u32 {
        match self {
            Number::F32 => 4,
            Number::F16 => 2,
        }
    }

    /// Four of them in WGSL.
    fn vec4(self) -> String {
        format!("vec4<{}>", self.name())
    }

    /// What it asks of the device.
    fn variant(self) -> Variant {
        Number::variant_of([self])
    }

    /// What several ask of the device.
    fn variant_of<const N: usize>(numbers: [Number; N]) -> Variant {
        Variant {
            f16: numbers.contains(&Number::F16),
            ..Variant::PLAIN
        }
    }
}

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// `var<uniform>`
    Uniform,
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// How many rows a run has, and the first of them where a kernel reads rows out of more ([`LayerNorm`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Rows {
    /// Number of rows.
    pub count: u32,
    /// The first row to read.
    pub first: u32,
}

/// Every kernel that the runtime uses, in all its variants.
///
/// # Errors
/// A template has a defect.
pub fn registry() -> Result<Vec<Kernel>, Error> {
    let mut kernels = vec![
        RemovalKey.kernel()?,
        Wkv7Prepare.kernel()?,
        Wkv7Apply.kernel()?,
        Wkv7Replay.kernel()?,
    ];
    for pass in SamplePass::ALL {
        kernels.push(pass.kernel()?);
    }
    for pass in GuessPass::ALL {
        kernels.push(pass.kernel()?);
    }
    for subgroup in [false, true] {
        kernels.push(Wkv7 { subgroup }.kernel()?);
    }
    for subgroup in [false, true] {
        kernels.extend(fused_matvecs(subgroup)?);
        kernels.extend(time_mix_steps(subgroup)?);
    }
    for output in [Number::F32, Number::F16] {
        kernels.push(Readout { output }.kernel()?);
        kernels.push(HeadStep { output }.kernel()?);
        for beside in [None, Some(Number::F32), Some(Number::F16)] {
            let sum = AddParts {
                parts: 5,
                output,
                beside,
            };
            kernels.push(sum.kernel()?);
        }
    }
    for subgroup in [false, true] {
        kernels.extend(row_kernels(subgroup)?);
    }
    for encoding in Encoding::ALL {
        for columns in Matvec::COLUMNS {
            kernels.push(
                Matvec {
                    encoding,
                    columns,
                    lanes: Matvec::DEFAULT_LANES,
                }
                .kernel()?,
            );
        }
        kernels.extend(many_tokens(encoding)?);
    }
    Ok(kernels)
}

/// What happens row by row: embedding and norms, of 1,280 channels.
fn row_kernels(subgroup: bool) -> Result<Vec<Kernel>, Error> {
    use Number::{F16, F32};
    const WIDTH: u32 = 320;
    // Without subgroups on devices that have no more than WebGPU grants.
    let most = if subgroup { 1024 } else { 256 };
    let sharing = |pieces| RowWorkgroup::sharing(pieces, most, subgroup);
    let mut kernels = Vec::new();
    for encoding in Encoding::ALL {
        let embedding = Embedding {
            encoding,
            width: WIDTH,
            workgroup: sharing(Embedding::pieces(WIDTH)),
        };
        kernels.push(embedding.kernel()?);
    }
    let workgroup = sharing(WIDTH);
    for (picked, output) in [(false, F32), (true, F32), (true, F16)] {
        let norm = LayerNorm {
            picked,
            output,
            workgroup,
        };
        kernels.push(norm.kernel()?);
    }
    for output in [F32, F16] {
        for mixes in NormMix::MIXES {
            for rows in [
                NormRows::Any,
                NormRows::Guessed,
                NormRows::Single { parts: 5 },
            ] {
                let norm_mix = NormMix {
                    width: WIDTH,
                    mixes,
                    output,
                    rows,
                    workgroup,
                };
                kernels.push(norm_mix.kernel()?);
            }
        }
    }
    Ok(kernels)
}

/// The products with many tokens.
fn many_tokens(encoding: Encoding) -> Result<Vec<Kernel>, Error> {
    use Number::{F16, F32};
    let mut kernels = Vec::new();
    for block_size in Matmul::BLOCK_SIZES {
        for (operand, output) in [(F32, F32), (F16, F32), (F16, F16)] {
            let matmul = Matmul {
                encoding,
                block_size,
                operand,
                output,
            };
            kernels.push(matmul.kernel()?);
            if encoding.has_integers() {
                let matmul = MatmulDot4 {
                    encoding,
                    block_size,
                    input: operand,
                    output,
                };
                kernels.push(matmul.kernel()?);
            }
        }
    }
    for tile in CoopTile::ALL {
        for (size, output) in [(16, F32), (16, F16), (8, F32), (8, F16)] {
            let matmul = MatmulCoop {
                encoding,
                halves_from: None,
                size,
                subgroup: 32,
                tile,
                output,
            };
            kernels.push(matmul.kernel()?);
            if encoding.has_integers() {
                let halves_from = Some(6);
                let matmul = MatmulCoop {
                    halves_from,
                    ..matmul
                };
                kernels.push(matmul.kernel()?);
            }
        }
    }
    Ok(kernels)
}

/// The products of the plan for one token, as a model of 2,560 channels in a mix of encodings uses them.
fn fused_matvecs(subgroup: bool) -> Result<Vec<Kernel>, Error> {
    let mut kernels = Vec::new();
    let several = vec![Encoding::Q4_K, Encoding::Q6_K, Encoding::F16];
    let each = Encoding::ALL.map(|encoding| vec![encoding]);
    for encodings in each.into_iter().chain([several]) {
        let has_integers = encodings.iter().any(|encoding| encoding.has_integers());
        let all_integers = encodings.iter().all(|encoding| encoding.has_integers());
        let matrices = encodings.iter().map(|&encoding| FusedMatrix {
            encoding,
            rows: 2560,
        });
        let product = FusedMatvec {
            matrices: matrices.collect(),
            spans: 80,
            input: FusedInput::Plain,
            shuffled: if subgroup { 16 } else { 0 },
            lanes: 16,
            rows: 2,
            workgroup: 128,
            depth: 2,
            integers: false,
            rounds_output: false,
        };
        for input in FusedInput::ALL {
            if input != FusedInput::Rounded {
                let on_floats = FusedMatvec {
                    input,
                    ..product.clone()
                };
                kernels.push(on_floats.kernel()?);
            }
            if has_integers && (input != FusedInput::Rounded || all_integers) {
                let on_integers = FusedMatvec {
                    input,
                    integers: true,
                    rounds_output: input == FusedInput::NormShift && encodings.len() == 1,
                    ..product.clone()
                };
                kernels.push(on_integers.kernel()?);
            }
        }
    }
    Ok(kernels)
}

/// What lies between the products of time mixing in the plan for one token.
fn time_mix_steps(subgroup: bool) -> Result<Vec<Kernel>, Error> {
    let mut kernels = Vec::new();
    // Real files keep the decay's matrix in single precision, the others in half.
    let mixed = [Encoding::F32, Encoding::F16, Encoding::F16, Encoding::F16];
    let each = Encoding::ALL.map(|encoding| ([encoding; 4], false));
    for first_layer in [true, false] {
        for (encodings, rounds_output) in each.into_iter().chain([(mixed, false), (mixed, true)]) {
            let step = TimeMixStep {
                encodings,
                spans: [3, 3, if first_layer { 0 } else { 2 }, 10],
                first_layer,
                subgroup,
                rounds_output,
            };
            kernels.push(step.kernel()?);
        }
    }
    Ok(kernels)
}
