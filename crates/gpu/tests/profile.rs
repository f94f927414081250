//! What a context counts, and what a plan's timestamps say, on whatever adapter the machine has.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use thalweg_gpu::{Binding, Context, Plan, PlanBuilder, ReadBuffer, Work, Workgroups};
use thalweg_shaders::kernels::{Binding as BindingKind, Kernel, Variant};

const WORK: Work = Work {
    flops: 256.0,
    bytes: 2048.0,
};

/// Three dispatches that count up, and a copy of the result.
fn counting(context: &Context) -> (Plan, ReadBuffer) {
    let kernel = Kernel {
        name: "count up".to_owned(),
        variant: Variant::PLAIN,
        wgsl: "@group(0) @binding(0) var<storage, read_write> values: array<u32>;
            @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
                values[id.x] += 1u;
            }"
        .to_owned(),
        bindings: &[BindingKind::ReadWrite],
        constants: Vec::new(),
        workgroup_size: [64, 1, 1],
        workgroup_bytes: 0,
    };
    // SAFETY: four workgroups of 64 index 256 values.
    let pipeline = unsafe { context.pipeline(&kernel) }.unwrap();
    let values = context.buffer("values", 1024).unwrap();
    let result = context.read_buffer("result", 1024).unwrap();
    let mut plan = PlanBuilder::new(context, "counting up");
    for _ in 0..3 {
        let bindings = [Binding::Buffer(&values)];
        plan.dispatch(&pipeline, &bindings, Workgroups::Linear(4), WORK)
            .unwrap();
    }
    plan.read_back(&values, 0, &result, 0, 1024);
    (plan.build().unwrap(), result)
}

#[test]
fn a_context_counts_what_it_asks_of_its_device() {
    let context = Context::of_any_kind().unwrap();
    let compiled = context.counters().pipelines;
    let (plan, result) = counting(&context);
    assert_eq!(context.counters().pipelines - compiled, 1);
    let (before, times_before) = (context.counters(), context.host_times());
    plan.repeat(&context, 2).unwrap();
    result.read(&context, 0, &mut [0u32]).unwrap();
    let counted = context.counters() - before;
    assert_eq!(
        (counted.submissions, counted.maps, counted.writes),
        (1, 1, 0)
    );
    assert_eq!((counted.dispatches, counted.commands), (6, 2 * (3 * 3 + 1)));
    assert_eq!(counted.bound_bytes, 6 * 1024);
    assert_eq!(
        (counted.moved_bytes, counted.flops),
        (2 * (3 * 2048 + 2048), 6 * 256)
    );
    assert_eq!(counted.pipelines, 0);
    let times = context.host_times() - times_before;
    assert!(
        times.encode.min(times.submit).min(times.wait).as_nanos() > 0,
        "{times:?}"
    );
}

#[test]
fn a_profile_has_every_dispatch_and_runs_the_plan_twice() {
    let context = Context::of_any_kind().unwrap();
    let (plan, result) = counting(&context);
    let times = plan.profile(&context).unwrap();
    let mut values = [0u32; 256];
    result.read(&context, 0, &mut values).unwrap();
    let Some(_) = context.timestamps() else {
        assert!(times.dispatches.is_empty());
        return;
    };
    assert_eq!(values, [6; 256]);
    let dispatches = &times.dispatches;
    assert!(times.seconds > 0.0);
    assert_eq!(dispatches.len(), 3);
    assert_eq!(dispatches[0].begin_s, 0.0);
    for pair in dispatches.windows(2) {
        // A tick may be as coarse as a microsecond.
        assert!(
            pair[1].begin_s >= pair[0].begin_s + pair[0].seconds - 1e-6,
            "{pair:?}"
        );
    }
    for dispatch in dispatches {
        assert_eq!(
            (dispatch.kernel.as_str(), dispatch.submission),
            ("count up", 0)
        );
        assert_eq!((dispatch.work, dispatch.variant), (WORK, Variant::PLAIN));
    }
}
