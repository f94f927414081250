//! Which device is wanted.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The graphics interface to reach a device through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Whichever offers a real GPU; never a software adapter.
    #[default]
    Auto,
    /// Vulkan: Linux, Windows, Android.
    Vulkan,
    /// Metal: macOS and iOS.
    Metal,
    /// Direct3D 12: Windows.
    Dx12,
    /// WebGPU: the browser.
    Webgpu,
}

impl Backend {
    /// The backend's name, as flags and listings write it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Auto => "auto",
            Backend::Vulkan => "vulkan",
            Backend::Metal => "metal",
            Backend::Dx12 => "dx12",
            Backend::Webgpu => "webgpu",
        }
    }

    pub(crate) fn wgpu(self) -> wgpu::Backends {
        match self {
            Backend::Auto => wgpu::Backends::all(),
            Backend::Vulkan => wgpu::Backends::VULKAN,
            Backend::Metal => wgpu::Backends::METAL,
            Backend::Dx12 => wgpu::Backends::DX12,
            Backend::Webgpu => wgpu::Backends::BROWSER_WEBGPU,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One adapter among those listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSelector {
    /// The adapter's place in the listing.
    Index(usize),
    /// A part of the adapter's name, upper and lower case alike.
    Name(String),
}

impl FromStr for DeviceSelector {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.parse() {
            Ok(index) => DeviceSelector::Index(index),
            Err(_) => DeviceSelector::Name(text.to_owned()),
        })
    }
}

impl fmt::Display for DeviceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceSelector::Index(index) => index.fmt(f),
            DeviceSelector::Name(name) => name.fmt(f),
        }
    }
}

/// An optional ability of a device that kernel variants or measurements build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// Subgroup operations.
    Subgroup,
    /// 16-bit floats in kernels.
    F16,
    /// Cooperative matrices of f16 with f32 sums (experimental in wgpu).
    Coop,
    /// Integer dot products of four bytes: WGSL has them everywhere, some devices in hardware.
    Dot4,
    /// Timestamps around compute passes.
    Timestamps,
}

impl Feature {
    /// Every feature known here.
    pub const ALL: [Feature; 5] = [
        Feature::Subgroup,
        Feature::F16,
        Feature::Coop,
        Feature::Dot4,
        Feature::Timestamps,
    ];

    /// The feature's name, as flags and listings write it.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Subgroup => "subgroup",
            Feature::F16 => "f16",
            Feature::Coop => "coop",
            Feature::Dot4 => "dot4",
            Feature::Timestamps => "timestamps",
        }
    }

    pub(crate) fn wgpu(self) -> wgpu::Features {
        match self {
            Feature::Subgroup => wgpu::Features::SUBGROUP,
            Feature::F16 => wgpu::Features::SHADER_F16,
            Feature::Coop => wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
            Feature::Dot4 => wgpu::Features::empty(),
            Feature::Timestamps => wgpu::Features::TIMESTAMP_QUERY,
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A device as the user asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceRequest {
    /// The backend; `WGPU_BACKEND` narrows [`Backend::Auto`].
    pub backend: Backend,
    /// The adapter; without one, `WGPU_ADAPTER_NAME` is a part of its name.
    pub device: Option<DeviceSelector>,
    /// Features to do without though the adapter offers them.
    pub features_off: Vec<Feature>,
    /// A folder to keep compiled pipelines in, where the backend and the platform can: not in the browser.
    pub pipeline_cache: Option<PathBuf>,
}
