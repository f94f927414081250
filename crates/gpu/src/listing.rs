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
    let choice = choose(&adapters, request, &Environment::read());
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
    fn read() -> Environment {
        Environment {
            backends: wgpu::Backends::from_env(),
            adapter_name: std::env::var("WGPU_ADAPTER_NAME")
                .ok()
                .filter(|name| !name.is_empty()),
        }
    }
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
