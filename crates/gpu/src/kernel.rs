//! The pipelines that the driver makes of kernels.

use std::sync::Arc;

use thalweg_shaders::kernels::{Binding as BindingKind, Kernel, Variant};

use crate::{Context, Error, Limits};

/// The name of every kernel's entry point.
const ENTRY_POINT: &str = "main";

/// What tells one pipeline from another.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct PipelineKey {
    wgsl: String,
    /// Names and the bits of the values.
    constants: Vec<(&'static str, u64)>,
}

impl PipelineKey {
    pub(crate) fn of(kernel: &Kernel) -> PipelineKey {
        PipelineKey {
            wgsl: kernel.wgsl.clone(),
            constants: kernel
                .constants
                .iter()
                .map(|(name, value)| (*name, value.to_bits()))
                .collect(),
        }
    }
}

/// A compiled kernel; clones share it.
#[derive(Debug, Clone)]
pub struct Pipeline(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    name: String,
    variant: Variant,
    bindings: &'static [BindingKind],
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

impl PartialEq for Pipeline {
    /// Whether both are the same compilation.
    fn eq(&self, other: &Pipeline) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Pipeline {
    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Which optional features the kernel uses.
    pub fn variant(&self) -> Variant {
        self.0.variant
    }

    /// The kernel's bindings, in the order of their numbers.
    pub fn bindings(&self) -> &'static [BindingKind] {
        self.0.bindings
    }

    pub(crate) fn wgpu(&self) -> &wgpu::ComputePipeline {
        &self.0.pipeline
    }

    pub(crate) fn layout(&self) -> &wgpu::BindGroupLayout {
        &self.0.layout
    }

    pub(crate) fn compile(context: &Context, kernel: &Kernel) -> Result<Pipeline, Error> {
        check_limits(kernel, context.limits(), &context.adapter().name)?;
        let compiled = context.scoped(&format!("compiling kernel {}", kernel.name), 0, || {
            create(context.device(), kernel, context.pipeline_cache())
        });
        match compiled {
            Ok(compiled) => Ok(Pipeline(Arc::new(compiled))),
            Err(Error::Validation { message, .. } | Error::Internal { message, .. }) => {
                Err(Error::Pipeline {
                    kernel: kernel.name.clone(),
                    message,
                })
            }
            Err(error) => Err(error),
        }
    }
}

fn create(device: &wgpu::Device, kernel: &Kernel, cache: Option<&wgpu::PipelineCache>) -> Compiled {
    let entries: Vec<_> = (0..)
        .zip(kernel.bindings)
        .map(|(number, kind)| layout_entry(number, *kind))
        .collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(&kernel.name),
        entries: &entries,
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(&kernel.name),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let source = wgpu::ShaderModuleDescriptor {
        label: Some(&kernel.name),
        source: wgpu::ShaderSource::Wgsl((&kernel.wgsl).into()),
    };
    // SAFETY: the caller of `Context::pipeline` vouches for the kernel's indices and loops. The checks left out cost
    // 10 to 30 % of a matvec.
    let module = unsafe {
        device.create_shader_module_trusted(source, wgpu::ShaderRuntimeChecks::unchecked())
    };
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&kernel.name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(ENTRY_POINT),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &kernel.constants,
            zero_initialize_workgroup_memory: cfg!(target_arch = "wasm32"),
        },
        cache,
    });
    Compiled {
        name: kernel.name.clone(),
        variant: kernel.variant,
        bindings: kernel.bindings,
        pipeline,
        layout,
    }
}

fn layout_entry(binding: u32, kind: BindingKind) -> wgpu::BindGroupLayoutEntry {
    let ty = match kind {
        BindingKind::Uniform => wgpu::BufferBindingType::Uniform,
        BindingKind::Read => wgpu::BufferBindingType::Storage { read_only: true },
        BindingKind::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
    };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}

/// Compares what the kernel needs with what the adapter offers, so that the message names both.
fn check_limits(kernel: &Kernel, limits: &Limits, adapter: &str) -> Result<(), Error> {
    let storage_bindings = kernel
        .bindings
        .iter()
        .filter(|kind| **kind != BindingKind::Uniform)
        .count() as u64;
    let invocations = kernel
        .workgroup_size
        .iter()
        .map(|size| u64::from(*size))
        .product();
    let [x, y, z] = kernel.workgroup_size.map(u64::from);
    let [max_x, max_y, max_z] = limits.workgroup_size.map(u64::from);
    let needs = [
        (
            "invocations per workgroup",
            invocations,
            u64::from(limits.workgroup_invocations),
        ),
        ("invocations per workgroup along x", x, max_x),
        ("invocations per workgroup along y", y, max_y),
        ("invocations per workgroup along z", z, max_z),
        (
            "bytes of workgroup memory",
            kernel.workgroup_bytes.into(),
            limits.workgroup_bytes.into(),
        ),
        (
            "storage bindings",
            storage_bindings,
            limits.storage_bindings.into(),
        ),
    ];
    for (limit, needed, offered) in needs {
        if needed > offered {
            let what = format!("kernel {}", kernel.name);
            return Err(Error::Limit {
                what,
                limit,
                needed,
                offered,
                adapter: adapter.to_owned(),
            });
        }
    }
    Ok(())
}
