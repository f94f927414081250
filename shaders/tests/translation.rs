//! Every kernel, checked without a device: it parses, validates, is what its registry entry says, and translates to the
//! languages of the platforms, as the table of expectations says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's ways of failing and of reporting"
)]

use naga::back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, CooperativeSize, Expression, Module, ShaderStage, StorageAccess, TypeInner,
};
use thalweg_shaders::kernels::{Binding, Kernel, Variant, probes, registry, unfused};

/// Where a kernel may be wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    /// SPIR-V 1.3, as Vulkan 1.1 takes it.
    Vulkan,
    /// Metal Shading Language 2.4.
    Metal,
    /// HLSL of shader model 6.0, as DX12 takes it.
    Dx12,
    /// WGSL within the limits that every browser grants.
    Browser,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Translates,
    Refused,
}

use Outcome::{Refused, Translates};

/// Beginning and end of a kernel's name, its variant, and what is expected of it.
type Expectation = (&'static str, &'static str, Variant, [(Target, Outcome); 4]);

/// What is expected of the kernels whose names fit; the first row that fits decides.
#[rustfmt::skip]
const EXPECTATIONS: [Expectation; 14] = [
    ("", "", Variant { subgroup: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Refused)]),
    ("", "", Variant { subgroup: true, f16: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Refused)]),
    ("matmul_dot4.", ".32", Variant { dot4: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Refused)]),
    ("", "", Variant { dot4: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Translates)]),
    ("", "", Variant { dot4: true, subgroup: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Refused)]),
    ("matmul_dot4.", ".32", Variant { dot4: true, f16: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Refused)]),
    ("matmul_dot4.", "", Variant { dot4: true, f16: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Translates)]),
    ("matmul.", ".32", Variant { f16: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Refused)]),
    ("", "", Variant { f16: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Translates)]),
    ("matmul_coop8.", "", Variant { f16: true, coop: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Refused), (Target::Browser, Refused)]),
    ("probe_coop8.", "", Variant { f16: true, coop: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Refused), (Target::Browser, Refused)]),
    ("", "", Variant { f16: true, coop: true, ..Variant::PLAIN },
        [(Target::Vulkan, Translates), (Target::Metal, Refused), (Target::Dx12, Refused), (Target::Browser, Refused)]),
    ("matmul.", ".32", Variant::PLAIN,
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Refused)]),
    ("", "", Variant::PLAIN,
        [(Target::Vulkan, Translates), (Target::Metal, Translates), (Target::Dx12, Translates), (Target::Browser, Translates)]),
];

/// Those that models run, those that find out what a device can do, and those that others are measured beside.
fn kernels() -> impl Iterator<Item = Kernel> {
    let measuring = probes().unwrap().into_iter().chain(unfused().unwrap());
    registry().unwrap().into_iter().chain(measuring)
}

fn expected(kernel: &Kernel) -> [(Target, Outcome); 4] {
    let fits = |(start, end, variant, _): &&Expectation| {
        kernel.name.starts_with(start) && kernel.name.ends_with(end) && kernel.variant == *variant
    };
    EXPECTATIONS
        .iter()
        .find(fits)
        .unwrap_or_else(|| panic!("no expectation for {}", kernel.name))
        .3
}

#[test]
fn kernels_translate_where_they_are_expected_to() {
    for kernel in kernels() {
        let (module, info) = specialised(&kernel);
        for (target, outcome) in expected(&kernel) {
            let result = translate(&kernel, &module, &info, target);
            assert_eq!(
                outcome,
                if result.is_ok() { Translates } else { Refused },
                "{} for {target:?}: {result:?}",
                kernel.name
            );
        }
    }
}

#[test]
fn registry_entries_say_what_the_modules_are() {
    for kernel in kernels() {
        let (module, _) = specialised(&kernel);
        let name = &kernel.name;
        assert_eq!(module.entry_points.len(), 1, "{name}");
        assert_eq!(module.entry_points[0].name, "main", "{name}");
        assert_eq!(
            module.entry_points[0].workgroup_size, kernel.workgroup_size,
            "{name}"
        );
        assert_eq!(workgroup_bytes(&module), kernel.workgroup_bytes, "{name}");
        // Filling in constants drops what is not used, which the layout has all the same.
        let whole = naga::front::wgsl::parse_str(&kernel.wgsl).unwrap();
        assert_eq!(bindings(&whole), kernel.bindings, "{name}");
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = kernels().map(|kernel| kernel.name).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn a_kernel_with_an_error_is_refused() {
    let mut kernel = registry().unwrap().swap_remove(0);
    kernel.wgsl = kernel.wgsl.replace("params.width", "params.wdith");
    assert!(naga::front::wgsl::parse_str(&kernel.wgsl).is_err());
}

/// The module with the values of its constants filled in, as a device would compile it.
fn specialised(kernel: &Kernel) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(&kernel.wgsl)
        .unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&kernel.wgsl)));
    let info = validate(kernel, &module);
    let constants: PipelineConstants = kernel
        .constants
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();
    let entry_point = Some((ShaderStage::Compute, "main"));
    let (module, info) = process_overrides(&module, &info, entry_point, &constants)
        .unwrap_or_else(|error| panic!("{}: {error:?}", kernel.name));
    (module.into_owned(), info.into_owned())
}

/// Nothing but WGSL 1.0 and what the variant says is allowed; naga counts `unpack2x16float` as a capability.
fn validate(kernel: &Kernel, module: &Module) -> ModuleInfo {
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::SUBGROUP, kernel.variant.subgroup);
    capabilities.set(Capabilities::SHADER_FLOAT16, kernel.variant.f16);
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, kernel.variant.coop);
    Validator::new(ValidationFlags::all(), capabilities)
        .validate(module)
        .unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&kernel.wgsl)))
}

fn translate(
    kernel: &Kernel,
    module: &Module,
    info: &ModuleInfo,
    target: Target,
) -> Result<(), String> {
    match target {
        Target::Vulkan => {
            let options = spv::Options {
                lang_version: (1, 3),
                ..spv::Options::default()
            };
            let pipeline = spv::PipelineOptions {
                shader_stage: ShaderStage::Compute,
                entry_point: "main".to_owned(),
            };
            spv::write_vec(module, info, &options, Some(&pipeline))
                .map(drop)
                .map_err(|error| error.to_string())
        }
        Target::Metal => {
            suits_metal_matrices(module)?;
            let options = msl::Options {
                lang_version: (2, 4),
                ..msl::Options::default()
            };
            let (_, translated) =
                msl::write_string(module, info, &options, &msl::PipelineOptions::default())
                    .map_err(|error| error.to_string())?;
            translated
                .entry_point_names
                .into_iter()
                .try_for_each(|name| name.map(drop).map_err(|e| e.to_string()))
        }
        Target::Dx12 => {
            let options = hlsl::Options {
                shader_model: hlsl::ShaderModel::V6_0,
                ..hlsl::Options::default()
            };
            let pipeline = hlsl::PipelineOptions::default();
            let mut text = String::new();
            let translated = hlsl::Writer::new(&mut text, &options, &pipeline)
                .write(module, info, None)
                .map_err(|error| error.to_string())?;
            translated
                .entry_point_names
                .into_iter()
                .try_for_each(|name| name.map(drop).map_err(|e| e.to_string()))
        }
        Target::Browser => within_browser_limits(kernel),
    }
}

/// Metal's matrices have 8 rows and columns, and are loaded from and stored to scalars; naga translates others, too, into
/// what does not compile.
fn suits_metal_matrices(module: &Module) -> Result<(), String> {
    for (_, ty) in module.types.iter() {
        match ty.inner {
            TypeInner::CooperativeMatrix { columns, rows, .. }
                if [columns, rows] != [CooperativeSize::Eight; 2] =>
            {
                return Err(format!("{columns:?} x {rows:?}"));
            }
            _ => {}
        }
    }
    let functions = module.functions.iter().map(|(_, function)| function);
    let entry_points = module.entry_points.iter().map(|entry| &entry.function);
    for function in functions.chain(entry_points) {
        for (_, expression) in function.expressions.iter() {
            let Expression::CooperativeLoad { data, .. } = expression else {
                continue;
            };
            let Expression::Access { base, .. } = function.expressions[data.pointer] else {
                return Err(format!("{:?}", function.expressions[data.pointer]));
            };
            let Expression::GlobalVariable(variable) = function.expressions[base] else {
                return Err(format!("{:?}", function.expressions[base]));
            };
            let TypeInner::Array { base, .. } =
                module.types[module.global_variables[variable].ty].inner
            else {
                return Err("loaded from no array".to_owned());
            };
            let element = &module.types[base].inner;
            if !matches!(element, TypeInner::Scalar(_)) {
                return Err(format!("loaded from {element:?}"));
            }
        }
    }
    Ok(())
}

fn within_browser_limits(kernel: &Kernel) -> Result<(), String> {
    let storage_bindings = kernel
        .bindings
        .iter()
        .filter(|binding| **binding != Binding::Uniform)
        .count();
    let invocations: u32 = kernel.workgroup_size.iter().product();
    if kernel.variant.subgroup || kernel.variant.coop {
        return Err(format!("{:?} has no counterpart", kernel.variant));
    }
    if storage_bindings > 8 || invocations > 256 || kernel.workgroup_bytes > 16 << 10 {
        return Err(format!(
            "{storage_bindings} bindings, {invocations} invocations, {} B",
            kernel.workgroup_bytes
        ));
    }
    Ok(())
}

fn workgroup_bytes(module: &Module) -> u32 {
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).unwrap();
    module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| layouter[variable.ty].size)
        .sum()
}

fn bindings(module: &Module) -> Vec<Binding> {
    let mut bindings: Vec<_> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            let number = variable.binding?.binding;
            let kind = match variable.space {
                AddressSpace::Uniform => Binding::Uniform,
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                    Binding::ReadWrite
                }
                AddressSpace::Storage { .. } => Binding::Read,
                _ => return None,
            };
            Some((number, kind))
        })
        .collect();
    bindings.sort_by_key(|(number, _)| *number);
    assert!(
        (0..)
            .zip(&bindings)
            .all(|(expected, (number, _))| expected == *number)
    );
    bindings.into_iter().map(|(_, kind)| kind).collect()
}
