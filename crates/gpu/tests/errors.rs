//! What goes wrong arrives as an error that says what was being done.

use thalweg_gpu::{
    Backend, Binding, Context, DeviceRequest, DeviceSelector, Error, Pipeline, PlanBuilder, Work,
    Workgroups,
};
use thalweg_shaders::kernels::{Binding as BindingKind, Kernel, Variant};

const NOTHING: Work = Work {
    flops: 0.0,
    bytes: 0.0,
};

/// Copies one buffer into another with `side` x `side` invocations.
fn copy_kernel(side: u32) -> Kernel {
    let wgsl = "
        override SIDE: u32;
        @group(0) @binding(0) var<storage, read> source: array<u32>;
        @group(0) @binding(1) var<storage, read_write> to: array<u32>;
        @compute @workgroup_size(SIDE, SIDE)
        fn main(@builtin(local_invocation_index) i: u32) {
            if i < arrayLength(&to) { to[i] = source[i]; }
        }";
    Kernel {
        name: "copy".to_owned(),
        variant: Variant::PLAIN,
        wgsl: wgsl.to_owned(),
        bindings: &[BindingKind::Read, BindingKind::ReadWrite],
        constants: vec![("SIDE", f64::from(side))],
        workgroup_size: [side, side, 1],
        workgroup_bytes: 0,
    }
}

fn compile(context: &Context, kernel: &Kernel) -> Result<Pipeline, Error> {
    // SAFETY: `to` bounds the index, and `source` is never shorter here.
    unsafe { context.pipeline(kernel) }
}

#[test]
fn an_unknown_device_is_named_with_those_that_there_are() {
    let known = Context::of_any_kind().unwrap();
    let device = Some(DeviceSelector::Name("no such card".to_owned()));
    let request = DeviceRequest {
        device,
        backend: known.adapter().backend,
        ..DeviceRequest::default()
    };
    let Err(Error::UnknownDevice { wanted, available }) = Context::new(&request) else {
        panic!()
    };
    assert_eq!(wanted, "no such card");
    assert!(available.contains(&known.adapter().name), "{available}");
}

#[test]
fn a_backend_that_this_system_lacks_has_no_adapter() {
    let foreign = if cfg!(target_os = "macos") {
        Backend::Dx12
    } else {
        Backend::Metal
    };
    let request = DeviceRequest {
        backend: foreign,
        ..DeviceRequest::default()
    };
    let error = Context::new(&request).unwrap_err();
    assert!(matches!(error, Error::NoAdapter { .. }), "{error}");
}

#[test]
fn a_workgroup_larger_than_the_adapter_allows_is_refused_with_both_numbers() {
    let context = Context::of_any_kind().unwrap();
    let offered = u64::from(context.limits().workgroup_invocations);
    let side = offered.isqrt() as u32 + 1;
    let error = compile(&context, &copy_kernel(side));
    let adapter = context.adapter().name.clone();
    let expected = Error::Limit {
        what: "kernel copy".to_owned(),
        limit: "invocations per workgroup",
        needed: u64::from(side * side),
        offered,
        adapter,
    };
    assert_eq!(error.unwrap_err(), expected);
}

#[test]
fn a_kernel_that_does_not_compile_is_named() {
    let context = Context::of_any_kind().unwrap();
    let sound = copy_kernel(8);
    let broken = [
        Kernel {
            wgsl: "fn main( {".to_owned(),
            ..sound.clone()
        },
        Kernel {
            wgsl: sound.wgsl.replace("main", "mian"),
            ..sound.clone()
        },
        Kernel {
            constants: Vec::new(),
            ..sound.clone()
        },
        Kernel {
            bindings: &[BindingKind::Read],
            ..sound.clone()
        },
        Kernel {
            bindings: &[BindingKind::ReadWrite, BindingKind::Read],
            ..sound.clone()
        },
    ];
    for kernel in broken {
        let error = compile(&context, &kernel).unwrap_err();
        assert!(
            matches!(&error, Error::Pipeline { kernel, .. } if kernel == "copy"),
            "{error}"
        );
    }
    compile(&context, &copy_kernel(8)).unwrap();
}

#[test]
fn a_buffer_larger_than_the_adapter_allows_is_refused() {
    let context = Context::of_any_kind().unwrap();
    let limit = context.limits().buffer_bytes;
    for needed in [limit.saturating_add(1), u64::MAX] {
        let error = context.buffer("the head", needed).unwrap_err();
        assert!(
            matches!(&error, Error::Limit { what, limit: "bytes per buffer", .. } if what == "the head"),
            "{error}"
        );
    }
}

#[test]
fn a_dispatch_is_checked_when_it_is_planned() {
    let context = Context::of_any_kind().unwrap();
    let copy = compile(&context, &copy_kernel(8)).unwrap();
    let [one, other] = ["one", "other"].map(|label| context.buffer(label, 256).unwrap());
    let mut plan = PlanBuilder::new(&context, "a test");
    let mut add =
        |bindings: &[Binding<'_>], workgroups| plan.dispatch(&copy, bindings, workgroups, NOTHING);

    let both = [Binding::Buffer(&one), Binding::Buffer(&one)];
    let error = add(&both, Workgroups::Linear(1)).unwrap_err();
    assert!(
        error.to_string().contains("for reading and for writing"),
        "{error}"
    );
    let error = add(&both[..1], Workgroups::Linear(1)).unwrap_err();
    assert!(matches!(error, Error::Validation { .. }), "{error}");
    let error = add(
        &[Binding::Buffer(&one), Binding::Uniform(&[0; 16])],
        Workgroups::Linear(1),
    )
    .unwrap_err();
    assert!(matches!(error, Error::Validation { .. }), "{error}");
    let bindings = [Binding::Buffer(&one), Binding::Buffer(&other)];
    let error = add(&bindings, Workgroups::Grid([1, 1 << 20, 1])).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Limit {
                limit: "workgroups per dimension",
                needed: 1_048_576,
                ..
            }
        ),
        "{error}"
    );

    let beyond = Binding::Part {
        buffer: &one,
        offset: 0,
        bytes: 1 << 40,
    };
    let error = add(&[beyond, Binding::Buffer(&other)], Workgroups::Linear(1)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Limit {
                limit: "bytes per storage binding",
                ..
            }
        ),
        "{error}"
    );
    let outside = Binding::Part {
        buffer: &one,
        offset: 256,
        bytes: 256,
    };
    add(&[outside, Binding::Buffer(&other)], Workgroups::Linear(1)).unwrap();
    let error = plan.build().unwrap_err();
    assert!(
        matches!(&error, Error::Validation { doing, .. } if doing == "planning a test"),
        "{error}"
    );
}

#[test]
fn transfers_outside_of_a_buffer_are_errors() {
    let context = Context::of_any_kind().unwrap();
    let buffer = context.buffer("small", 16).unwrap();
    let result = context.read_buffer("result", 16).unwrap();
    let mut uploader = context.uploader();
    let mut out = [0u32; 5];
    let attempts = [
        context.write(&buffer, 0, &[0u32; 5]),
        context.read(&buffer, 0, &mut out),
        result.read(&context, 0, &mut out),
        uploader
            .write(&buffer, 4, &[0; 16])
            .and_then(|()| uploader.finish()),
    ];
    for (number, attempt) in attempts.into_iter().enumerate() {
        assert!(
            matches!(attempt, Err(Error::Validation { .. })),
            "attempt {number}: {attempt:?}"
        );
    }
    context.write(&buffer, 0, &[7u32; 4]).unwrap();
    context.read(&buffer, 0, &mut out[..4]).unwrap();
    assert_eq!(out, [7, 7, 7, 7, 0]);
}

#[test]
fn everything_asked_of_a_lost_device_is_an_error() {
    let context = Context::of_any_kind().unwrap();
    let copy = compile(&context, &copy_kernel(8)).unwrap();
    let [one, other] = ["one", "other"].map(|label| context.buffer(label, 256).unwrap());
    let result = context.read_buffer("result", 256).unwrap();
    let mut plan = PlanBuilder::new(&context, "a test");
    let bindings = [Binding::Buffer(&one), Binding::Buffer(&other)];
    plan.dispatch(&copy, &bindings, Workgroups::Linear(1), NOTHING)
        .unwrap();
    plan.read_back(&other, 0, &result, 0, 256);
    let plan = plan.build().unwrap();
    plan.run(&context).unwrap();

    context.destroy();
    let mut out = [0u32; 64];
    let attempts = [
        plan.run(&context).and_then(|()| context.wait("a test")),
        result.read(&context, 0, &mut out),
        context.read(&other, 0, &mut out),
        context.write(&one, 0, &out),
        context.buffer("three", 256).map(drop),
        compile(&context, &copy_kernel(4)).map(drop),
        context.uploader().write(&one, 0, &[0; 16]),
        PlanBuilder::new(&context, "another").build().map(drop),
    ];
    for (number, attempt) in attempts.into_iter().enumerate() {
        assert!(
            matches!(attempt, Err(Error::DeviceLost { .. })),
            "attempt {number}: {attempt:?}"
        );
    }
}

/// Runs [`buffers_until_memory_runs_out`] in a process that may have 12 GB of memory: a software adapter hands out what
/// the system promises, which without a limit is everything.
#[cfg(target_os = "linux")]
#[test]
fn memory_that_runs_out_is_an_error() {
    let this = std::env::current_exe().unwrap();
    let limited = "ulimit -v 12000000; exec \"$0\" --exact --ignored buffers_until_memory_runs_out";
    let output = std::process::Command::new("sh")
        .args(["-c", limited])
        .arg(this)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "part of memory_that_runs_out_is_an_error"]
fn buffers_until_memory_runs_out() {
    let context = Context::new(&DeviceRequest {
        backend: Backend::Vulkan,
        ..DeviceRequest::default()
    })
    .unwrap();
    let mut kept = Vec::new();
    let error = loop {
        match context.buffer("a layer", 1 << 30) {
            Ok(buffer) => kept.push(buffer),
            Err(error) => break error,
        }
        assert!(kept.len() < 1000);
    };
    assert_eq!(
        error,
        Error::OutOfMemory {
            doing: "allocating a layer".to_owned(),
            bytes: 1 << 30
        }
    );
    kept.clear();
    context.buffer("a small one", 1 << 20).unwrap();
}
