//! The adapters of the machine, and which of them a request means.

use crate::{Adapter, AdapterKind, Backend, DeviceRequest, DeviceSelector, Error};

/// Every adapter of the machine, and the one that a request means.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The adapters in the order of their indices.
    pub adapters: Vec<Adapter>,
    /// The adapter that the request means, or why there is none.
    pub choice: Result<Choice, Error>,
}

/// The adapter that a request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its place in the listing.
    pub index: usize,
    /// Why this one.
    pub reason: String,
}

/// Lists the adapters of the machine and says which of them `request` means. Opens none of them.
#[cfg(not(target_arch = "wasm32"))]
pub fn adapters(request: &DeviceRequest) -> Listing {
    pollster::block_on(list(request)).0
}

/// The listing, and wgpu's adapters in the same order.
pub(crate) async fn list(request: &DeviceRequest) -> (Listing, Vec<wgpu::Adapter>) {
    let handles = instance().enumerate_adapters(wgpu::Backends::all()).await;
    let adapters: Vec<Adapter> = handles
        .iter()
        .enumerate()
        .map(|(index, handle)| Adapter::new(index, handle))
        .collect();
    let choice = Environment::read(request.backend)
        .and_then(|environment| choose(&adapters, request, &environment));
    (Listing { adapters, choice }, handles)
}

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        // Validation layers and debug labels only where WGPU_VALIDATION or WGPU_DEBUG ask for them. Without indirect
        // dispatches there is nothing for wgpu to validate in them.
        flags: wgpu::InstanceFlags::empty().with_env()
            - wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL,
        backend_options: wgpu::BackendOptions::from_env_or_default(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

/// What wgpu's customary environment variables ask for, where the request leaves it open.
#[derive(Debug, Default)]
struct Environment {
    /// `WGPU_BACKEND`: the backends to look at.
    backends: Option<wgpu::Backends>,
    /// `WGPU_ADAPTER_NAME`: a part of the adapter's name.
    adapter_name: Option<String>,
}

impl Environment {
    fn read(wanted: Backend) -> Result<Environment, Error> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Ok(Environment {
            backends: variable("WGPU_BACKEND")
                .filter(|_| wanted == Backend::Auto)
                .as_deref()
                .map(backends)
                .transpose()?,
            adapter_name: variable("WGPU_ADAPTER_NAME"),
        })
    }
}

/// The backends of a list with commas. wgpu leaves out what it does not know.
fn backends(list: &str) -> Result<wgpu::Backends, Error> {
    let mut backends = wgpu::Backends::empty();
    for name in list.split(',') {
        let backend = wgpu::Backends::from_comma_list(name);
        if backend.is_empty() {
            return Err(Error::UnknownBackend {
                name: name.trim().to_owned(),
            });
        }
        backends |= backend;
    }
    Ok(backends)
}

fn choose(
    adapters: &[Adapter],
    request: &DeviceRequest,
    environment: &Environment,
) -> Result<Choice, Error> {
    let reachable: Vec<&Adapter> = adapters
        .iter()
        .filter(|adapter| is_reachable(adapter.backend, request.backend, environment))
        .collect();
    let named = environment.adapter_name.clone().map(DeviceSelector::Name);
    match (&request.device, &named) {
        (Some(selector), _) => select(&reachable, selector, request.backend, "named by --device"),
        (None, Some(selector)) => select(
            &reachable,
            selector,
            request.backend,
            "named by WGPU_ADAPTER_NAME",
        ),
        (None, None) => best(&reachable, adapters, request.backend),
    }
}

fn is_reachable(backend: Backend, wanted: Backend, environment: &Environment) -> bool {
    match wanted {
        Backend::Auto => environment
            .backends
            .is_none_or(|backends| backends.contains(backend.wgpu())),
        wanted => backend == wanted,
    }
}

/// The adapter that the selector fits. A device that several backends offer is taken through the first of them.
fn select(
    reachable: &[&Adapter],
    selector: &DeviceSelector,
    wanted: Backend,
    reason: &str,
) -> Result<Choice, Error> {
    let fits = |adapter: &Adapter| match selector {
        DeviceSelector::Index(index) => adapter.index == *index,
        DeviceSelector::Name(name) => adapter.name.to_lowercase().contains(&name.to_lowercase()),
    };
    let mut matches: Vec<&Adapter> = reachable
        .iter()
        .copied()
        .filter(|adapter| fits(adapter))
        .collect();
    matches.sort_by_key(|adapter| rank(adapter));
    let Some(first) = matches.first() else {
        return Err(Error::UnknownDevice {
            wanted: selector.to_string(),
            available: enumerate(reachable),
        });
    };
    if matches[1..]
        .iter()
        .any(|other| other.name != first.name || other.backend == first.backend)
    {
        matches.sort_by_key(|adapter| adapter.index);
        return Err(Error::AmbiguousDevice {
            wanted: selector.to_string(),
            matches: enumerate(&matches),
        });
    }
    if first.software && wanted == Backend::Auto {
        return Err(Error::SoftwareAdapter {
            adapter: first.name.clone(),
            backend: first.backend,
        });
    }
    Ok(Choice {
        index: first.index,
        reason: reason.to_owned(),
    })
}

/// The best adapter: a GPU before a software adapter, which is taken only if the backend was named.
fn best(reachable: &[&Adapter], all: &[Adapter], wanted: Backend) -> Result<Choice, Error> {
    let acceptable = |adapter: &&&Adapter| wanted != Backend::Auto || !adapter.software;
    let Some(best) = reachable
        .iter()
        .filter(acceptable)
        .min_by_key(|adapter| rank(adapter))
    else {
        let wanted = match wanted {
            Backend::Auto => "GPU".to_owned(),
            backend => format!("{backend} adapter"),
        };
        let found = enumerate(&all.iter().collect::<Vec<_>>());
        return Err(Error::NoAdapter { wanted, found });
    };
    let rivals = reachable
        .iter()
        .filter(|adapter| adapter.software == best.software)
        .count()
        - 1;
    let reason = match (best.software, rivals) {
        (true, _) => {
            format!("no GPU offers {wanted}, and naming the backend accepts its software adapter")
        }
        (false, 0) => "the only GPU".to_owned(),
        (false, _) => format!("the first {} GPU", best.kind.name()),
    };
    Ok(Choice {
        index: best.index,
        reason,
    })
}

/// The order in which adapters are preferred, best first.
fn rank(adapter: &Adapter) -> (bool, u8, u8, usize) {
    let kind = match adapter.kind {
        AdapterKind::Discrete => 0,
        AdapterKind::Integrated => 1,
        AdapterKind::Virtual => 2,
        AdapterKind::Other => 3,
        AdapterKind::Cpu => 4,
    };
    // A device that several backends offer is taken through the one whose driver translates least.
    let backend = match adapter.backend {
        Backend::Vulkan => 0,
        Backend::Metal => 1,
        Backend::Dx12 => 2,
        Backend::Webgpu => 3,
        Backend::Auto => 4,
    };
    (adapter.software, kind, backend, adapter.index)
}

fn enumerate(adapters: &[&Adapter]) -> String {
    match adapters {
        [] => "none".to_owned(),
        adapters => adapters
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn adapter(index: usize, name: &str, backend: Backend, kind: AdapterKind) -> Adapter {
        Adapter {
            index,
            name: name.to_owned(),
            backend,
            kind,
            software: kind == AdapterKind::Cpu,
            driver: String::new(),
            driver_info: String::new(),
            subgroup_sizes: [32, 32],
            coop_size: None,
            features: Vec::new(),
            limits: Limits::from(&wgpu::Limits::default()),
        }
    }

    /// A machine with a software adapter, an integrated GPU, and a card that two backends offer.
    fn machine() -> Vec<Adapter> {
        vec![
            adapter(0, "llvmpipe", Backend::Vulkan, AdapterKind::Cpu),
            adapter(1, "Iris Xe", Backend::Vulkan, AdapterKind::Integrated),
            adapter(2, "GeForce 4090", Backend::Dx12, AdapterKind::Discrete),
            adapter(3, "GeForce 4090", Backend::Vulkan, AdapterKind::Discrete),
        ]
    }

    fn request(backend: Backend, device: Option<&str>) -> DeviceRequest {
        let device = device.map(|device| device.parse().unwrap());
        DeviceRequest {
            backend,
            device,
            ..DeviceRequest::default()
        }
    }

    fn chosen(
        adapters: &[Adapter],
        backend: Backend,
        device: Option<&str>,
    ) -> Result<usize, Error> {
        choose(adapters, &request(backend, device), &Environment::default())
            .map(|choice| choice.index)
    }

    #[test]
    fn auto_takes_the_best_gpu() {
        assert_eq!(chosen(&machine(), Backend::Auto, None), Ok(3));
        assert_eq!(chosen(&machine()[..2], Backend::Auto, None), Ok(1));
    }

    #[test]
    fn auto_never_takes_a_software_adapter() {
        let error = chosen(&machine()[..1], Backend::Auto, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no GPU found; adapters there are: 0 llvmpipe (vulkan, cpu); install or name another driver, \
             or use --backend cpu"
        );
        let error = chosen(&machine(), Backend::Auto, Some("llvm")).unwrap_err();
        assert_eq!(
            error,
            Error::SoftwareAdapter {
                adapter: "llvmpipe".to_owned(),
                backend: Backend::Vulkan
            }
        );
    }

    #[test]
    fn a_named_backend_accepts_a_software_adapter_if_there_is_no_other() {
        assert_eq!(chosen(&machine()[..1], Backend::Vulkan, None), Ok(0));
        assert_eq!(chosen(&machine()[..2], Backend::Vulkan, None), Ok(1));
        assert_eq!(chosen(&machine(), Backend::Vulkan, Some("0")), Ok(0));
        assert_eq!(chosen(&machine(), Backend::Dx12, None), Ok(2));
        let error = chosen(&machine(), Backend::Metal, None).unwrap_err();
        assert!(
            error.to_string().starts_with("no metal adapter found"),
            "{error}"
        );
    }

    #[test]
    fn a_device_is_named_by_index_or_part_of_its_name() {
        assert_eq!(chosen(&machine(), Backend::Auto, Some("1")), Ok(1));
        assert_eq!(chosen(&machine(), Backend::Auto, Some("iris")), Ok(1));
        // One card that two backends offer is no ambiguity.
        assert_eq!(chosen(&machine(), Backend::Auto, Some("GEFORCE")), Ok(3));
    }

    #[test]
    fn an_unknown_device_is_an_error_that_lists_what_there_is() {
        for wanted in ["radeon", "4"] {
            let error = chosen(&machine()[..2], Backend::Vulkan, Some(wanted)).unwrap_err();
            let available = "0 llvmpipe (vulkan, cpu), 1 Iris Xe (vulkan, integrated)".to_owned();
            assert_eq!(
                error,
                Error::UnknownDevice {
                    wanted: wanted.to_owned(),
                    available
                }
            );
        }
        // It exists, but not for this backend.
        assert!(chosen(&machine(), Backend::Dx12, Some("1")).is_err());
    }

    #[test]
    fn a_name_that_fits_several_devices_is_an_error() {
        let mut machine = machine();
        machine.push(adapter(
            4,
            "GeForce 4090",
            Backend::Vulkan,
            AdapterKind::Discrete,
        ));
        let error = chosen(&machine, Backend::Vulkan, Some("GeForce")).unwrap_err();
        let matches =
            "3 GeForce 4090 (vulkan, discrete), 4 GeForce 4090 (vulkan, discrete)".to_owned();
        assert_eq!(
            error,
            Error::AmbiguousDevice {
                wanted: "GeForce".to_owned(),
                matches
            }
        );
        assert!(matches!(
            chosen(&machine, Backend::Auto, Some("e")),
            Err(Error::AmbiguousDevice { .. })
        ));
    }

    #[test]
    fn backends_of_the_environment_have_to_be_known() {
        use wgpu::Backends;
        assert_eq!(backends("vulkan"), Ok(Backends::VULKAN));
        let both = Ok(Backends::METAL | Backends::DX12);
        assert_eq!(backends("Metal, dx12"), both);
        for (list, name) in [
            ("vulcan", "vulcan"),
            ("vulkan, cuda", "cuda"),
            ("dx12,", ""),
        ] {
            let name = name.to_owned();
            assert_eq!(backends(list), Err(Error::UnknownBackend { name }));
        }
    }

    #[test]
    fn the_environment_counts_where_the_request_is_silent() {
        let environment = Environment {
            backends: Some(wgpu::Backends::DX12),
            adapter_name: Some("force".to_owned()),
        };
        let choice = choose(&machine(), &request(Backend::Auto, None), &environment).unwrap();
        assert_eq!(
            choice,
            Choice {
                index: 2,
                reason: "named by WGPU_ADAPTER_NAME".to_owned()
            }
        );
        let choice = choose(
            &machine(),
            &request(Backend::Vulkan, Some("1")),
            &environment,
        )
        .unwrap();
        assert_eq!(
            choice,
            Choice {
                index: 1,
                reason: "named by --device".to_owned()
            }
        );
    }
}
