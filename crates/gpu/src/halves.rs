//! Finds out whether the driver keeps subnormal halves, which WGSL lets it flush to zero.

use thalweg_shaders::kernels::Kernel;
#[cfg(not(target_arch = "wasm32"))]
use thalweg_shaders::kernels::{Binding as BindingKind, Variant};

#[cfg(not(target_arch = "wasm32"))]
use crate::{Binding, Context, Error, PlanBuilder, Work, Workgroups};

/// The constant of the kernels that unpack halves, and how they declare it.
pub(crate) const CONSTANT: &str = "SUBNORMAL_HALVES";
const DECLARATION: &str = "override SUBNORMAL_HALVES";

/// Whether the kernel has the constant and leaves it open.
pub(crate) fn is_asked_for(kernel: &Kernel) -> bool {
    let is_given = kernel.constants.iter().any(|(name, _)| *name == CONSTANT);
    kernel.wgsl.contains(DECLARATION) && !is_given
}

/// Pairs of halves: the least and the largest subnormal ones, others of either sign, normal ones and zeros.
#[cfg(not(target_arch = "wasm32"))]
const WORDS: [u32; 8] = [
    0x0001_03ff,
    0x8001_83ff,
    0x0200_8155,
    0x02aa_8000,
    0x0400_83fe,
    0x3c00_0002,
    0x0000_0100,
    0x8010_c000,
];

/// What they are.
#[cfg(not(target_arch = "wasm32"))]
fn value(half: u32) -> f32 {
    let (exponent, mantissa) = ((half >> 10) & 31, (half & 0x3ff) as f32);
    let magnitude = match exponent {
        0 => mantissa * 2f32.powi(-24),
        _ => (1024.0 + mantissa) * 2f32.powi(exponent as i32 - 25),
    };
    if half & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// Unpacks some on the device and looks at what comes out.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn subnormals_survive(context: &Context) -> Result<bool, Error> {
    let kernel = Kernel {
        name: "unpack_halves".to_owned(),
        variant: Variant::PLAIN,
        wgsl: "
            @group(0) @binding(0) var<storage, read> words: array<u32>;
            @group(0) @binding(1) var<storage, read_write> out: array<vec2<f32>>;
            @compute @workgroup_size(8)
            fn main(@builtin(local_invocation_index) local: u32) {
                out[local] = unpack2x16float(words[local]);
            }"
        .to_owned(),
        constants: Vec::new(),
        bindings: &[BindingKind::Read, BindingKind::ReadWrite],
        workgroup_size: [WORDS.len() as u32, 1, 1],
        workgroup_bytes: 0,
    };
    // SAFETY: eight invocations index eight words and eight pairs.
    let pipeline = unsafe { context.pipeline(&kernel) }?;
    let words = context.buffer_with("halves", &WORDS)?;
    let out = context.buffer("unpacked halves", 8 * WORDS.len() as u64)?;
    let mut plan = PlanBuilder::new(context, "unpacking halves");
    let bindings = [Binding::Buffer(&words), Binding::Buffer(&out)];
    plan.dispatch(&pipeline, &bindings, Workgroups::Linear(1), Work::default())?;
    plan.build()?.run(context)?;
    let mut found = [[0.0f32; 2]; WORDS.len()];
    context.read(&out, 0, &mut found)?;
    let expected = WORDS.map(|word| [value(word & 0xffff), value(word >> 16)]);
    Ok(found == expected)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn values_of_halves() {
        assert_eq!(value(0x3c00), 1.0);
        assert_eq!(value(0xc000), -2.0);
        assert_eq!(value(0x0001), 2f32.powi(-24));
        assert_eq!(value(0x83ff), -1023.0 * 2f32.powi(-24));
        assert_eq!(value(0x0400), 2f32.powi(-14));
    }
}
