//! Compiled pipelines that outlive the process, on whatever adapter the machine has.
#![allow(clippy::unwrap_used, reason = "a test's way of failing")]

use std::path::{Path, PathBuf};

use thalweg_gpu::{Backend, Context, DeviceRequest, Error};
use thalweg_shaders::kernels::{Binding, Kernel, Variant};

fn open(folder: &Path) -> Context {
    let backend = Context::of_any_kind().unwrap().adapter().backend;
    let request = DeviceRequest {
        backend,
        pipeline_cache: Some(folder.to_owned()),
        ..DeviceRequest::default()
    };
    let context = Context::new(&request).unwrap();
    assert_eq!(
        context.keeps_pipelines(),
        backend == Backend::Vulkan,
        "wgpu can keep pipelines on Vulkan alone"
    );
    context
}

/// Compiles a kernel that no other test compiles.
fn compile(context: &Context, factor: f64) {
    let kernel = Kernel {
        name: "scale".to_owned(),
        variant: Variant::PLAIN,
        wgsl: "override FACTOR: f32;
            @group(0) @binding(0) var<storage, read_write> values: array<f32>;
            @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
                values[i] *= FACTOR;
            }"
        .to_owned(),
        constants: vec![("FACTOR", factor)],
        bindings: &[Binding::ReadWrite],
        workgroup_size: [64, 1, 1],
        workgroup_bytes: 0,
    };
    // SAFETY: it is not run.
    unsafe { context.pipeline(&kernel) }.unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn pipelines_are_kept_and_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let context = open(folder.path());
    compile(&context, 3.0);
    context.save_pipelines().unwrap();
    if !context.keeps_pipelines() {
        assert!(files(folder.path()).is_empty());
        return;
    }
    let [file] = &files(folder.path())[..] else {
        unreachable!("one file, and nothing temporary beside it");
    };
    let first = std::fs::read(file).unwrap();

    // A process that compiles something else loses nothing of what was there.
    let context = open(folder.path());
    compile(&context, 5.0);
    context.save_pipelines().unwrap();
    let both = std::fs::read(file).unwrap();
    // Mesa's software driver has a cache in which it keeps nothing; a GPU's must hold the kernels.
    let software = context.adapter().software;
    assert!(
        both.len() > first.len() || software && both == first,
        "from {} to {} bytes",
        first.len(),
        both.len()
    );

    // One that compiles nothing new leaves the file alone.
    std::fs::remove_file(file).unwrap();
    context.save_pipelines().unwrap();
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_damaged_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let context = open(folder.path());
    compile(&context, 7.0);
    context.save_pipelines().unwrap();
    for file in files(folder.path()) {
        let whole = std::fs::read(&file).unwrap();
        let half = whole.len() / 2;
        let mut flipped = whole.clone();
        flipped[half] ^= 1;
        for damaged in [&whole[..half], &flipped, b"nonsense", b""] {
            std::fs::write(&file, damaged).unwrap();
            let context = open(folder.path());
            compile(&context, 7.0);
            context.save_pipelines().unwrap();
            assert_eq!(std::fs::read(&file).unwrap().len(), whole.len());
        }
    }
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, "").unwrap();
    let context = open(&file);
    compile(&context, 9.0);
    let saved = context.save_pipelines();
    if !context.keeps_pipelines() {
        return assert_eq!(saved, Ok(()));
    }
    let error = saved.unwrap_err();
    assert!(
        matches!(&error, Error::PipelineCache { path, .. } if path.starts_with(&file)),
        "{error}"
    );
}
