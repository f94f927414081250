//! Kernels, plans and transfers on whatever adapter the machine has, software adapters included.

use thalweg_gpu::{Binding, Context, Error, Pipeline, PlanBuilder, Work, Workgroups};
use thalweg_shaders::kernels::{Binding as BindingKind, Kernel, Variant};

const NOTHING: Work = Work {
    flops: 0.0,
    bytes: 0.0,
};

/// `values[i] = values[i] * FACTOR + added` for the first `count` of them.
const SCALE: &str = "
    override SIDE: u32;
    override FACTOR: f32;
    struct Parameters { count: u32, added: f32 }
    @group(0) @binding(0) var<uniform> parameters: Parameters;
    @group(0) @binding(1) var<storage, read_write> values: array<f32>;
    @compute @workgroup_size(SIDE)
    fn main(
        @builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32,
    ) {
        let i = (group.y * groups.x + group.x) * SIDE + local;
        if i < parameters.count {
            values[i] = values[i] * FACTOR + parameters.added;
        }
    }";

fn scale(context: &Context, side: u32, factor: f64) -> Result<Pipeline, Error> {
    let kernel = Kernel {
        name: "scale".to_owned(),
        variant: Variant::PLAIN,
        wgsl: SCALE.to_owned(),
        bindings: &[BindingKind::Uniform, BindingKind::ReadWrite],
        constants: vec![("SIDE", f64::from(side)), ("FACTOR", factor)],
        workgroup_size: [side, 1, 1],
        workgroup_bytes: 0,
    };
    // SAFETY: the kernel indexes below `count`, which every test keeps within the buffer.
    unsafe { context.pipeline(&kernel) }
}

fn parameters(count: u32, added: f32) -> Vec<u8> {
    [count.to_le_bytes(), added.to_le_bytes()].concat()
}

#[test]
fn a_plan_runs_its_dispatches_in_order_and_as_often_as_asked() {
    let context = Context::of_any_kind().unwrap();
    let double = scale(&context, 64, 2.0).unwrap();
    let halve = scale(&context, 64, 0.5).unwrap();
    let start: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let values = context.buffer_with("values", &start).unwrap();
    let result = context.read_buffer("result", 4000).unwrap();

    let mut plan = PlanBuilder::new(&context, "a test");
    let (add_three, add_one) = (parameters(1000, 3.0), parameters(1000, 1.0));
    for (pipeline, parameters) in [(&double, &add_three), (&halve, &add_one)] {
        let bindings = [Binding::Uniform(parameters), Binding::Buffer(&values)];
        plan.dispatch(pipeline, &bindings, Workgroups::Linear(16), NOTHING)
            .unwrap();
    }
    plan.read_back(&values, 0, &result, 0, 4000);
    let plan = plan.build().unwrap();
    assert_eq!(plan.submissions(), 1);

    // One replay makes x of x: (2 x + 3) / 2 + 1 = x + 2.5
    for _ in 0..3 {
        plan.run(&context).unwrap();
    }
    let mut found = vec![0.0; 1000];
    result.read(&context, 0, &mut found).unwrap();
    assert_eq!(found, start.iter().map(|x| x + 7.5).collect::<Vec<_>>());
    let mut part = [0.0; 2];
    result.read(&context, 40, &mut part).unwrap();
    assert_eq!(part, found[10..12]);
}

#[test]
fn more_workgroups_than_a_dimension_holds_are_folded() {
    let context = Context::of_any_kind().unwrap();
    let count = 150_001;
    let pipeline = scale(&context, 1, 1.0).unwrap();
    let values = context.buffer("values", u64::from(count) * 4).unwrap();
    let mut plan = PlanBuilder::new(&context, "a test");
    let parameters = parameters(count, 1.0);
    let bindings = [Binding::Uniform(&parameters), Binding::Buffer(&values)];
    plan.dispatch(&pipeline, &bindings, Workgroups::Linear(count), NOTHING)
        .unwrap();
    plan.build().unwrap().run(&context).unwrap();
    let mut found = vec![0.0f32; count as usize];
    context.read(&values, 0, &mut found).unwrap();
    assert!(found.iter().all(|value| *value == 1.0));
}

#[test]
fn a_plan_is_divided_where_its_work_would_keep_the_device_busy_for_too_long() {
    let context = Context::of_any_kind().unwrap();
    let pipeline = scale(&context, 64, 2.0).unwrap();
    let values = context.buffer_with("values", &[1.0f32; 64]).unwrap();
    let copy = context.buffer("copy", 256).unwrap();
    let parameters = parameters(64, 0.0);
    let bindings = [Binding::Uniform(&parameters), Binding::Buffer(&values)];
    let heavy = Work {
        flops: 1e13,
        bytes: 0.0,
    }; // ten seconds and more, as assumed of any device
    let mut plan = PlanBuilder::new(&context, "a test");
    for work in [NOTHING, heavy, NOTHING, heavy] {
        plan.dispatch(&pipeline, &bindings, Workgroups::Linear(1), work)
            .unwrap();
    }
    plan.copy(&values, 0, &copy, 0, 256);
    plan.dispatch(&pipeline, &bindings, Workgroups::Linear(1), NOTHING)
        .unwrap();
    let plan = plan.build().unwrap();
    assert_eq!(plan.submissions(), 5);
    assert!(plan.longest_submission_s(&context) >= 10.0);
    assert_eq!(plan.work().flops, 2e13);

    plan.run(&context).unwrap();
    let mut found = [[0.0f32; 64]; 2];
    context.read(&values, 0, &mut found[0]).unwrap();
    context.read(&copy, 0, &mut found[1]).unwrap();
    assert_eq!(found, [[32.0; 64], [16.0; 64]]);
}

#[test]
fn uploads_of_every_length_arrive_whole() {
    let context = Context::of_any_kind().unwrap();
    let large: Vec<u8> = (0..40_000_003u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let buffer = context.buffer("upload", 45_000_000).unwrap();
    let mut uploader = context.uploader();
    uploader.write(&buffer, 4, &large).unwrap();
    let mut expected = vec![0; 45_000_000];
    expected[4..][..large.len()].copy_from_slice(&large);
    let mut offset = 40_000_008;
    for length in [0, 1, 2, 3, 4, 5, 31, 33, 1000] {
        uploader
            .write(&buffer, offset as u64, &large[..length])
            .unwrap();
        expected[offset..][..length].copy_from_slice(&large[..length]);
        offset += length.next_multiple_of(4);
    }
    uploader.finish().unwrap();
    let mut found = vec![0; expected.len()];
    context.read(&buffer, 0, &mut found).unwrap();
    assert!(
        found == expected,
        "{:?}",
        (0..).zip(&found).find(|(i, byte)| **byte != expected[*i])
    );
}

#[test]
fn rows_made_on_the_way_arrive_in_their_places() {
    let context = Context::of_any_kind().unwrap();
    let mut uploader = context.uploader();
    let mark = |row: usize| (row % 255) as u8 + 1;
    // Rows of a word, of no power of two, and larger than a staging buffer.
    let shapes = [(1_000_000, 4), (9001, 3364), (2, 17_000_004)];
    let buffers = shapes.map(|(rows, row_bytes)| {
        let buffer = context.buffer("rows", rows * row_bytes + 4).unwrap();
        let row_bytes = row_bytes as usize;
        let make = |range: std::ops::Range<usize>, out: &mut [u8]| {
            assert_eq!(out.len(), range.len() * row_bytes);
            for (row, out) in range.zip(out.chunks_exact_mut(row_bytes)) {
                out.fill(mark(row));
            }
            Ok::<_, Error>(())
        };
        uploader
            .write_rows(&buffer, 4, rows as usize, row_bytes, make)
            .unwrap();
        buffer
    });
    uploader.finish().unwrap();
    for ((rows, row_bytes), buffer) in shapes.into_iter().zip(buffers) {
        let mut found = vec![1; (rows * row_bytes + 4) as usize];
        context.read(&buffer, 0, &mut found).unwrap();
        assert_eq!(found[..4], [0; 4]);
        for (row, found) in found[4..].chunks_exact(row_bytes as usize).enumerate() {
            assert!(found.iter().all(|byte| *byte == mark(row)), "row {row}");
        }
    }
}

#[test]
fn a_row_that_cannot_be_made_ends_the_upload() {
    let context = Context::of_any_kind().unwrap();
    let buffer = context.buffer("rows", 4000).unwrap();
    let failure = Error::Internal {
        doing: "a test".to_owned(),
        message: String::new(),
    };
    let make = |rows: std::ops::Range<usize>, _: &mut [u8]| match rows.contains(&700) {
        true => Err(failure.clone()),
        false => Ok(()),
    };
    let result = context.uploader().write_rows(&buffer, 0, 1000, 4, make);
    assert_eq!(result, Err(failure.clone()));
}

#[test]
fn a_cleared_buffer_is_zero_for_what_comes_after() {
    let context = Context::of_any_kind().unwrap();
    let buffer = context.buffer_with("values", &[7u32; 100]).unwrap();
    context.clear(&buffer).unwrap();
    context.write(&buffer, 8, &[3u32]).unwrap();
    let mut found = [1u32; 100];
    context.read(&buffer, 0, &mut found).unwrap();
    let mut expected = [0; 100];
    expected[2] = 3;
    assert_eq!(found, expected);
}

#[test]
fn buffers_are_counted_while_they_live() {
    let context = Context::of_any_kind().unwrap();
    let reported = |context: &Context| context.memory().allocator.unwrap().allocated;
    let (counted, allocated) = (context.memory().buffer_bytes, reported(&context));
    let buffer = context.buffer("counted", 10_000_001).unwrap();
    assert_eq!(buffer.bytes(), 10_000_004);
    assert_eq!(context.memory().buffer_bytes - counted, 10_000_004);
    assert!((10_000_004..10_100_000).contains(&(reported(&context) - allocated)));
    let other = buffer.clone();
    drop(buffer);
    assert_eq!(context.memory().buffer_bytes - counted, 10_000_004);
    drop(other);
    assert_eq!(context.memory().buffer_bytes, counted);
}

#[test]
fn a_kernel_is_compiled_once() {
    let context = Context::of_any_kind().unwrap();
    let first = scale(&context, 64, 2.0).unwrap();
    let again = scale(&context, 64, 2.0).unwrap();
    let other = scale(&context, 64, 3.0).unwrap();
    assert!(first == again && first != other);
}
