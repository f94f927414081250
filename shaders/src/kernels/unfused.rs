//! `unfused_*.wgsl`: operations in a kernel of their own, which fused kernels are measured beside. No model runs them.

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Number, Slot};
use crate::Error;

/// One operation alone, of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unfused {
    /// Which.
    pub operation: UnfusedOperation,
    /// What the results are stored as.
    pub output: Number,
}

/// What there is a kernel of its own for. `out` is `[tokens, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnfusedOperation {
    /// Bindings: rows, [`UnfusedParams`], x `[tokens, width]`, out.
    Softmax,
    /// Bindings: rows, [`UnfusedParams`], vectors, x `[tokens, width]`, the row before the first `[width]`, out.
    TokenShift,
    /// Bindings: rows, [`TimeMixParams`](super::TimeMixParams), vectors, y `[tokens, width]`, out.
    GroupNorm,
    /// Bindings: rows, [`TimeMixParams`](super::TimeMixParams), vectors, mixed, y `[tokens, width]`, out.
    Bonus,
    /// Bindings: rows, [`TimeMixParams`](super::TimeMixParams), mixed, y `[tokens, width]`, out.
    Gate,
}

/// Parameters of softmax and token shift.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct UnfusedParams {
    /// vec4s of a row.
    pub width: u32,
    /// First vec4 in vectors of what the token shift mixes by.
    pub mix: u32,
    /// Uniform structs are whole vec4s.
    pub padding: [u32; 2],
}

/// Invocations that share a row or a part of it.
const ROW_WORKGROUP: u32 = 256;
/// Invocations of four heads, as [`Readout`](super::Readout) has them.
const HEADS_WORKGROUP: u32 = 64;

impl Unfused {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        let (operation, output) = (self.operation, self.output.name());
        let template = format!("unfused_{}.wgsl", operation.name());
        let name = format!("unfused_{}.{output}", operation.name());
        let workgroup = operation.workgroup();
        let constants = match operation.goes_by_heads() {
            true => Vec::new(),
            false => vec![("WORKGROUP", workgroup.into())],
        };
        Ok(Kernel {
            variant: self.output.variant(),
            wgsl: render(&name, &template, context! { slots => Slot::NAMES, output })?,
            bindings: operation.bindings(),
            constants,
            workgroup_size: [workgroup, 1, 1],
            workgroup_bytes: operation.numbers_added_up() * 4 * workgroup,
            name,
        })
    }

    /// The grid for at most `tokens` rows of `width` channels.
    pub fn workgroups(&self, width: u32, tokens: u32) -> [u32; 3] {
        match self.operation {
            UnfusedOperation::Softmax => [tokens, 1, 1],
            operation => [width.div_ceil(4 * operation.workgroup()), tokens, 1],
        }
    }
}

impl UnfusedOperation {
    /// All operations.
    pub const ALL: [UnfusedOperation; 5] = [
        UnfusedOperation::Softmax,
        UnfusedOperation::TokenShift,
        UnfusedOperation::GroupNorm,
        UnfusedOperation::Bonus,
        UnfusedOperation::Gate,
    ];

    fn name(self) -> &'static str {
        match self {
            UnfusedOperation::Softmax => "softmax",
            UnfusedOperation::TokenShift => "token_shift",
            UnfusedOperation::GroupNorm => "group_norm",
            UnfusedOperation::Bonus => "bonus",
            UnfusedOperation::Gate => "gate",
        }
    }

    fn bindings(self) -> &'static [Binding] {
        use Binding::{Read, ReadWrite, Uniform};
        match self {
            UnfusedOperation::Softmax => &[Read, Uniform, Read, ReadWrite],
            UnfusedOperation::GroupNorm | UnfusedOperation::Gate => {
                &[Read, Uniform, Read, Read, ReadWrite]
            }
            UnfusedOperation::TokenShift | UnfusedOperation::Bonus => {
                &[Read, Uniform, Read, Read, Read, ReadWrite]
            }
        }
    }

    fn goes_by_heads(self) -> bool {
        !matches!(
            self,
            UnfusedOperation::Softmax | UnfusedOperation::TokenShift
        )
    }

    fn workgroup(self) -> u32 {
        match self.goes_by_heads() {
            true => HEADS_WORKGROUP,
            false => ROW_WORKGROUP,
        }
    }

    /// How many numbers of each invocation are added up at once, in workgroup memory.
    fn numbers_added_up(self) -> u32 {
        match self {
            UnfusedOperation::Softmax => 1,
            UnfusedOperation::GroupNorm | UnfusedOperation::Bonus => 2,
            UnfusedOperation::TokenShift | UnfusedOperation::Gate => 0,
        }
    }
}

/// Every kernel of one operation alone, in all its variants.
///
/// # Errors
/// A template has a defect.
pub fn unfused() -> Result<Vec<Kernel>, Error> {
    let mut kernels = Vec::new();
    for operation in UnfusedOperation::ALL {
        for output in [Number::F32, Number::F16] {
            kernels.push(Unfused { operation, output }.kernel()?);
        }
    }
    Ok(kernels)
}
