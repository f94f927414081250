//! Every kernel at the shapes of models, described as data: what a dispatch binds, how large it is, what it does.
//!
//! [`cases`] lists what a device can run; [`Case::prepare`] puts one of them on the device, ready to be timed.

mod buffers;
mod device;
mod few_tokens;
mod heads;
mod many_tokens;
mod prepared;
mod rows;
mod sampling;
mod shapes;

use thalweg_gpu::{Work, Workgroups};
use thalweg_shaders::Error;
use thalweg_shaders::kernels::Kernel;

pub use buffers::{Input, Matrix, Numbers};
pub use device::Device;
pub use prepared::Prepared;
pub use sampling::Sampled;
pub use shapes::Shapes;

/// One kernel at one shape.
#[derive(Debug)]
pub struct Case {
    /// What cases are listed under: the name of the kernel's template.
    pub group: &'static str,
    /// What tells it from the others of its group: "q4_k/10240x2560/1".
    pub name: String,
    /// The kernel.
    pub kernel: Kernel,
    /// What it binds, in the order of its bindings.
    pub inputs: Vec<Input>,
    /// The grid.
    pub workgroups: Workgroups,
    /// What one dispatch computes, and the bytes that it cannot do without reading or writing.
    pub work: Work,
}

/// Everything that `device` can run, group by group.
///
/// # Errors
/// A template has a defect.
pub fn cases(device: &Device, shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    cases.extend(few_tokens::matvec(shapes)?);
    cases.extend(few_tokens::fused_matvec(device, shapes)?);
    cases.extend(many_tokens::matmul(shapes)?);
    cases.extend(many_tokens::matmul_dot4(shapes)?);
    cases.extend(many_tokens::matmul_coop(device, shapes)?);
    cases.extend(many_tokens::matmul_coop_beside(device, shapes)?);
    cases.extend(many_tokens::add_parts(shapes)?);
    cases.extend(heads::removal_key(shapes)?);
    cases.extend(heads::wkv7(shapes)?);
    cases.extend(heads::wkv7_chunked(shapes)?);
    cases.extend(heads::readout(shapes)?);
    cases.extend(heads::head_step(shapes)?);
    cases.extend(heads::wkv7_replay(shapes)?);
    cases.extend(heads::time_mix_step(shapes)?);
    cases.extend(rows::embedding(device, shapes)?);
    cases.extend(rows::layer_norm(device, shapes)?);
    cases.extend(rows::norm_mix(device, shapes)?);
    cases.extend(sampling::sampling(shapes)?);
    cases.retain(|case| device.runs(&case.kernel));
    Ok(cases)
}

/// The bytes of so many 32-bit numbers.
fn bytes_of_numbers(count: usize) -> f64 {
    4.0 * count as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use thalweg_shaders::kernels::{Variant, registry};

    use super::{Case, Device, Shapes, cases};

    /// A kernel's template, encodings, and what it asks of a device: all that a bench should not leave out.
    fn kinds<'k>(
        kernels: impl Iterator<Item = (&'k str, Variant)>,
    ) -> BTreeSet<(String, String, [bool; 4])> {
        kernels
            .map(|(name, variant)| {
                let mut parts = name.split('.');
                let mut part = || parts.next().unwrap_or_default().to_owned();
                let abilities = [variant.subgroup, variant.f16, variant.coop, variant.dot4];
                (part(), part(), abilities)
            })
            // Real files mix encodings in one dispatch in many ways, of which some is measured.
            .filter(|(template, _, _)| template != "time_mix_step")
            .filter(|(_, encodings, _)| encodings != "q4_k_q6_k_f16")
            // Those of guesses do what the others do.
            .filter(|(_, kind, _)| kind != "guessed")
            .collect()
    }

    fn all_cases() -> Vec<Case> {
        cases(&Device::WITH_EVERYTHING, &Shapes::OF_MODELS).unwrap()
    }

    #[test]
    fn every_kernel_of_the_registry_is_measured() {
        let (registry, mut cases) = (registry().unwrap(), all_cases());
        // A device has cooperative matrices of one size.
        let as_in_metal = Device {
            coop: Some([8, 32]),
            ..Device::WITH_EVERYTHING
        };
        cases.extend(super::cases(&as_in_metal, &Shapes::OF_MODELS).unwrap());
        let wanted = kinds(
            registry
                .iter()
                .map(|kernel| (&*kernel.name, kernel.variant)),
        );
        let found = kinds(
            cases
                .iter()
                .map(|case| (&*case.kernel.name, case.kernel.variant)),
        );
        let missing: Vec<_> = wanted.difference(&found).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(cases.iter().any(|case| case.group == "time_mix_step"));
    }

    #[test]
    fn names_are_unique_and_bindings_complete() {
        let cases = all_cases();
        let names: BTreeSet<_> = cases.iter().map(|case| (case.group, &case.name)).collect();
        assert_eq!(names.len(), cases.len());
        for case in &cases {
            let (inputs, bindings) = (case.inputs.len(), case.kernel.bindings.len());
            assert_eq!(inputs, bindings, "{} {}", case.group, case.name);
            assert!(case.work.bytes > 0.0, "{} {}", case.group, case.name);
        }
    }
}
