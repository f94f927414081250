//! What the device can run.

use thalweg_gpu::{Context, Feature};
use thalweg_shaders::kernels::Kernel;

/// What a device has of what kernels ask for.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// The fewest invocations of a subgroup; 0 without subgroup operations.
    pub subgroup: u32,
    /// 16-bit floats.
    pub f16: bool,
    /// Integer dot products.
    pub dot4: bool,
    /// The size of cooperative matrices and of the subgroups that they take, if there are any.
    pub coop: Option<[u32; 2]>,
    /// The most invocations of a workgroup.
    pub invocations: u32,
    /// The most bytes of workgroup memory.
    pub workgroup_bytes: u32,
}

impl Device {
    /// A device on which every kernel runs.
    pub const WITH_EVERYTHING: Device = Device {
        subgroup: 32,
        f16: true,
        dot4: true,
        coop: Some([16, 32]),
        invocations: 1024,
        workgroup_bytes: 48 << 10,
    };

    /// What the device of `context` has.
    pub fn of(context: &Context) -> Device {
        let adapter = context.adapter();
        let [smallest, largest] = adapter.subgroup_sizes;
        let has_coop = context.has(Feature::Coop) && smallest == largest;
        Device {
            subgroup: if context.has(Feature::Subgroup) {
                smallest
            } else {
                0
            },
            f16: context.has(Feature::F16),
            dot4: context.has(Feature::Dot4),
            coop: adapter
                .coop_size
                .filter(|_| has_coop)
                .map(|size| [size, smallest]),
            invocations: context.limits().workgroup_invocations,
            workgroup_bytes: context.limits().workgroup_bytes,
        }
    }

    /// Whether it has what the kernel asks for.
    pub(super) fn runs(&self, kernel: &Kernel) -> bool {
        let invocations: u32 = kernel.workgroup_size.iter().product();
        let variant = kernel.variant;
        (!variant.subgroup || self.subgroup >= LEAST_SUBGROUP)
            && (!variant.f16 || self.f16)
            && (!variant.coop || self.coop.is_some())
            && (!variant.dot4 || self.dot4)
            && invocations <= self.invocations
            && kernel.workgroup_bytes <= self.workgroup_bytes
    }
}

/// The fewest invocations of a subgroup that kernels on subgroups are made for.
const LEAST_SUBGROUP: u32 = 8;
