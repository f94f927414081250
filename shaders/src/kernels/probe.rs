//! `probe_*.wgsl`: kernels that find out what a device can do at the most. No model runs them.

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Variant};
use crate::Error;

/// Invocations of a workgroup, but for that of cooperative matrices.
const WORKGROUP: u32 = 256;

/// Reads a buffer once. Bindings: words, params, out.
///
/// Writes the number of an invocation whose words XOR to what is wanted, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProbeRead;

/// Parameters of [`ProbeRead`].
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct ProbeReadParams {
    /// What is looked for.
    pub wanted: u32,
}

/// Multiplies and adds 32-bit floats. Bindings: params, out.
///
/// Writes what is wanted if the numbers of any invocation add up to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProbeFma;

/// Parameters of [`ProbeFma`].
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct ProbeFmaParams {
    /// How often each chain takes [`ProbeFma::STEPS`] steps.
    pub iterations: u32,
    /// What a step multiplies with.
    pub factor: f32,
    /// What it adds.
    pub addend: f32,
    /// What is looked for.
    pub wanted: f32,
}

/// Multiplies and adds cooperative matrices. Bindings: params, out `[workgroups, SUBGROUPS]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProbeCoop {
    /// Rows and columns of the device's square matrices: 16 or 8.
    pub size: u32,
    /// Invocations of a subgroup, which must be of that size on the device.
    pub subgroup: u32,
}

/// Parameters of [`ProbeCoop`].
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct ProbeCoopParams {
    /// How often all matrices of sums are added to.
    pub iterations: u32,
    /// The elements of the first operand; those of the next are twice as large, and so on.
    pub value: f32,
}

/// Counts its runs. Bindings: out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProbeStep;

impl ProbeRead {
    /// Bytes that a workgroup reads.
    pub const WORKGROUP_BYTES: u64 = 16 * (Self::LOADS * WORKGROUP) as u64;
    /// Vec4s of an invocation.
    const LOADS: u32 = 8;

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let values = context! { loads => Self::LOADS };
        plain("probe_read", values, &[Read, Uniform, ReadWrite])
    }
}

impl ProbeFma {
    /// Steps of a chain in an iteration.
    pub const STEPS: u32 = 4;
    /// Chains of an invocation, each of four numbers.
    pub const CHAINS: u32 = 8;

    /// Operations of a workgroup, a multiply-add counting two.
    pub fn workgroup_flop(iterations: u32) -> f64 {
        f64::from(2 * 4 * Self::STEPS * Self::CHAINS * WORKGROUP) * f64::from(iterations)
    }

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{ReadWrite, Uniform};
        let values = context! { steps => Self::STEPS, chains => Self::CHAINS };
        plain("probe_fma", values, &[Uniform, ReadWrite])
    }
}

impl ProbeCoop {
    /// Subgroups of a workgroup.
    pub const SUBGROUPS: u32 = 4;
    /// Matrices of sums of a subgroup, along rows and tokens.
    pub const SUMS: [u32; 2] = [2, 4];

    /// Operations of a workgroup, a multiply-add counting two.
    pub fn workgroup_flop(&self, iterations: u32) -> f64 {
        let [rows, tokens] = Self::SUMS;
        let products = f64::from(Self::SUBGROUPS * rows * tokens) * f64::from(iterations);
        products * 2.0 * f64::from(self.size).powi(3)
    }

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        let ProbeCoop { size, subgroup } = *self;
        let ([rows, tokens], subgroups) = (Self::SUMS, Self::SUBGROUPS);
        let name = format!("probe_coop{size}.{subgroup}");
        let values = context! { size, subgroup, subgroups, rows, tokens };
        Ok(Kernel {
            variant: Variant {
                f16: true,
                coop: true,
                ..Variant::PLAIN
            },
            wgsl: render(&name, "probe_coop.wgsl", values)?,
            bindings: &[Binding::Uniform, Binding::ReadWrite],
            constants: Vec::new(),
            workgroup_size: [subgroups * subgroup, 1, 1],
            workgroup_bytes: size * size * (2 * (rows + tokens) + 4 * subgroups),
            name,
        })
    }
}

impl ProbeStep {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        let kernel = plain("probe_step", context! {}, &[Binding::ReadWrite])?;
        Ok(Kernel {
            constants: Vec::new(),
            workgroup_size: [1; 3],
            ..kernel
        })
    }
}

fn plain(
    name: &str,
    values: minijinja::Value,
    bindings: &'static [Binding],
) -> Result<Kernel, Error> {
    Ok(Kernel {
        name: name.to_owned(),
        variant: Variant::PLAIN,
        wgsl: render(name, &format!("{name}.wgsl"), values)?,
        bindings,
        constants: vec![("WORKGROUP", WORKGROUP.into())],
        workgroup_size: [WORKGROUP, 1, 1],
        workgroup_bytes: 0,
    })
}

/// Every kernel that finds out what a device can do, in all its variants.
///
/// # Errors
/// A template has a defect.
pub fn probes() -> Result<Vec<Kernel>, Error> {
    let coop = |size| ProbeCoop { size, subgroup: 32 }.kernel();
    Ok(vec![
        ProbeRead.kernel()?,
        ProbeFma.kernel()?,
        ProbeStep.kernel()?,
        coop(16)?,
        coop(8)?,
    ])
}
