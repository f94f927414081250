//! One adapter: what it is and what it offers.

use std::fmt;

use crate::{Backend, Feature, Limits};

/// What an adapter is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A card with memory of its own.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU seen through a virtual machine.
    Virtual,
    /// The CPU, posing as a GPU.
    Cpu,
    /// Unknown.
    Other,
}

impl AdapterKind {
    /// The kind in one word.
    pub fn name(self) -> &'static str {
        match self {
            AdapterKind::Discrete => "discrete",
            AdapterKind::Integrated => "integrated",
            AdapterKind::Virtual => "virtual",
            AdapterKind::Cpu => "cpu",
            AdapterKind::Other => "other",
        }
    }
}

impl From<wgpu::DeviceType> for AdapterKind {
    fn from(kind: wgpu::DeviceType) -> Self {
        match kind {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Cpu,
            wgpu::DeviceType::Other => AdapterKind::Other,
        }
    }
}

/// One adapter: a device seen through one backend.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Adapter {
    /// Its place in the listing.
    pub index: usize,
    /// Its name, as the driver gives it.
    pub name: String,
    /// The backend it is seen through.
    pub backend: Backend,
    /// What it is made of.
    pub kind: AdapterKind,
    /// Whether it computes on the CPU: good for tests, not for use.
    pub software: bool,
    /// The driver's name; may be empty.
    pub driver: String,
    /// The driver's version; may be empty.
    pub driver_info: String,
    /// The fewest and the most invocations of a subgroup.
    pub subgroup_sizes: [u32; 2],
    /// Rows and columns of the square cooperative matrices that it multiplies (f16, sums in f32), if it does.
    pub coop_size: Option<u32>,
    /// Features of interest that it offers.
    pub features: Vec<Feature>,
    /// Its limits.
    pub limits: Limits,
}

impl Adapter {
    pub(crate) fn new(index: usize, adapter: &wgpu::Adapter) -> Adapter {
        let info = adapter.get_info();
        let offered = adapter.features();
        let coop_size = coop_size(adapter);
        let offers = |feature: &Feature| match feature {
            Feature::Coop => coop_size.is_some() && offered.contains(feature.wgpu()),
            _ => offered.contains(feature.wgpu()),
        };
        Adapter {
            index,
            coop_size,
            backend: backend_of(info.backend),
            kind: info.device_type.into(),
            software: is_software(&info.name, info.device_type),
            name: info.name,
            driver: info.driver,
            driver_info: info.driver_info,
            subgroup_sizes: [info.subgroup_min_size, info.subgroup_max_size],
            features: Feature::ALL.into_iter().filter(offers).collect(),
            limits: Limits::from(&adapter.limits()),
        }
    }
}

impl Adapter {
    /// The driver's name and version, as far as it tells them.
    pub fn driver_and_version(&self) -> String {
        format!("{} {}", self.driver, self.driver_info)
            .trim()
            .to_owned()
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ({}, {})",
            self.index,
            self.name,
            self.backend,
            self.kind.name()
        )
    }
}

/// The square size of f16 matrices with f32 sums that the adapter multiplies, the larger one first.
fn coop_size(adapter: &wgpu::Adapter) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let properties = adapter.cooperative_matrix_properties();
    [16, 8].into_iter().find(|&size| {
        properties.iter().any(|matrix| {
            [matrix.m_size, matrix.n_size, matrix.k_size] == [size; 3]
                && (matrix.ab_type, matrix.cr_type) == (F16, F32)
        })
    })
}

fn backend_of(backend: wgpu::Backend) -> Backend {
    match backend {
        wgpu::Backend::Vulkan => Backend::Vulkan,
        wgpu::Backend::Metal => Backend::Metal,
        wgpu::Backend::Dx12 => Backend::Dx12,
        wgpu::Backend::BrowserWebGpu => Backend::Webgpu,
        wgpu::Backend::Gl | wgpu::Backend::Noop => Backend::Auto, // compiled out
    }
}

/// Drivers that compute on the CPU, some of which claim to be something else.
const SOFTWARE: [&str; 5] = [
    "llvmpipe",
    "lavapipe",
    "swiftshader",
    "warp",
    "basic render",
];

fn is_software(name: &str, kind: wgpu::DeviceType) -> bool {
    let name = name.to_lowercase();
    kind == wgpu::DeviceType::Cpu || SOFTWARE.iter().any(|software| name.contains(software))
}
