//! Which device computes: the flags that say so, and the choice that they come to.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thalweg_gpu::{Context, DeviceRequest, DeviceSelector, Error, Feature, Listing};

use crate::failure::Failure;
use crate::output;

/// What the CPU is called where devices are named.
pub(crate) const CPU: &str = "cpu";

/// Which device computes.
#[derive(Debug, Args)]
pub(crate) struct DeviceFlags {
    /// What computes: auto takes a GPU, or the CPU where there is none
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    backend: Backend,

    /// The adapter, by its number or a part of its name in `thalweg devices`
    #[arg(long, value_name = "N|NAME")]
    device: Option<DeviceSelector>,

    /// Features of the adapter to do without, as `thalweg devices` names them
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_feature)]
    features_off: Vec<Feature>,
}

/// What computes the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Backend {
    Auto,
    Vulkan,
    Metal,
    Dx12,
    Cpu,
}

/// What the flags come to.
#[derive(Debug, PartialEq)]
pub(crate) enum Choice {
    Cpu { reason: String },
    Adapter(thalweg_gpu::Choice),
}

impl DeviceFlags {
    /// The device to compute on, opened without some more features than the flags say; none is the CPU. Compiled kernels
    /// are kept in the given folder.
    pub(crate) fn open(
        &self,
        pipeline_cache: Option<PathBuf>,
        without: &[Feature],
    ) -> Result<Option<Context>, Failure> {
        let Some(mut request) = self.request()? else {
            return Ok(None);
        };
        request.pipeline_cache = pipeline_cache;
        request.features_off.extend(without);
        match Context::new(&request) {
            Ok(context) => Ok(Some(context)),
            Err(error) if self.falls_back(&error) => {
                output::note("no GPU found: running on the CPU");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The adapters of this machine, and which device would be chosen.
    pub(crate) fn list(&self) -> Result<(Listing, Result<Choice, Failure>), Failure> {
        let request = self.request()?;
        let listing = thalweg_gpu::adapters(&request.clone().unwrap_or_default());
        let choice = match (&request, &listing.choice) {
            (None, _) => Ok(Choice::Cpu {
                reason: "named by --backend".to_owned(),
            }),
            (_, Ok(choice)) => Ok(Choice::Adapter(choice.clone())),
            (_, Err(error)) if self.falls_back(error) => Ok(Choice::Cpu {
                reason: "there is no GPU".to_owned(),
            }),
            (_, Err(error)) => Err(error.clone().into()),
        };
        Ok((listing, choice))
    }

    /// What to ask the adapters for; nothing if the CPU computes.
    fn request(&self) -> Result<Option<DeviceRequest>, Failure> {
        let backend = match self.backend {
            Backend::Auto => thalweg_gpu::Backend::Auto,
            Backend::Vulkan => thalweg_gpu::Backend::Vulkan,
            Backend::Metal => thalweg_gpu::Backend::Metal,
            Backend::Dx12 => thalweg_gpu::Backend::Dx12,
            Backend::Cpu => return self.no_request(),
        };
        Ok(Some(DeviceRequest {
            backend,
            device: self.device.clone(),
            features_off: self.features_off.clone(),
            pipeline_cache: None,
        }))
    }

    fn no_request(&self) -> Result<Option<DeviceRequest>, Failure> {
        match &self.device {
            None => Ok(None),
            Some(device) => Err(Failure::Usage(format!(
                "--device {device} names an adapter, but --backend cpu uses none; leave one of them out"
            ))),
        }
    }

    fn falls_back(&self, error: &Error) -> bool {
        self.backend == Backend::Auto && matches!(error, Error::NoAdapter { .. })
    }
}

fn parse_feature(text: &str) -> Result<Feature, String> {
    let named = Feature::ALL
        .into_iter()
        .find(|feature| feature.name() == text);
    named.ok_or_else(|| {
        format!(
            "expected some of {}",
            Feature::ALL.map(Feature::name).join(", ")
        )
    })
}

/// Keeps Mesa from complaining on standard error, before `main` starts any thread.
///
/// Its device-select layer asks Wayland which GPU draws the desktop, and libwayland prints two lines where there is no
/// session to have a desktop in. Which GPU computes is not decided by that.
#[cfg(target_os = "linux")]
pub(crate) fn silence_device_select() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
