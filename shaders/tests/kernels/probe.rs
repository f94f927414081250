//! `probe_*.wgsl`: that they do the work that they are timed for.

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Feature, Workgroups};
use thalweg_shaders::kernels::{
    ProbeCoop, ProbeCoopParams, ProbeFma, ProbeFmaParams, ProbeRead, ProbeReadParams, ProbeStep,
};

use crate::harness::{buffer, context, read, run};

fn read_words(buffer: &thalweg_gpu::Buffer) -> u32 {
    let mut word = [0];
    context().read(buffer, 0, &mut word).unwrap();
    word[0]
}

#[test]
fn every_word_is_read() {
    const WORKGROUPS: u64 = 3;
    let words = (ProbeRead::WORKGROUP_BYTES * WORKGROUPS / 4) as usize;
    // An invocation reads vec4s that lie a workgroup's invocations, 256, apart, eight of them.
    for place in [0, 5, 4 * 256, words / 3 + 4 * 700 + 2, words - 1] {
        let mut data = vec![0u32; words];
        data[place] = 0xdead_beef;
        let (data, out) = (buffer(&data), buffer(&[u32::MAX]));
        let params = ProbeReadParams {
            wanted: 0xdead_beef,
        };
        let bindings = [
            Binding::Buffer(&data),
            Binding::Uniform(bytes_of(&params)),
            Binding::Buffer(&out),
        ];
        let kernel = ProbeRead.kernel().unwrap();
        run(&kernel, &bindings, Workgroups::Linear(WORKGROUPS as u32));
        let vec4 = place / 4;
        let expected = vec4 / (8 * 256) * 256 + vec4 % 256;
        assert_eq!(read_words(&out), expected as u32, "word {place}");
    }
}

#[test]
fn every_step_of_every_chain_is_taken() {
    // The first invocation: chains begin at 0 to 7. Halves and quarters are exact.
    let (iterations, factor, addend) = (2, 0.5f32, 0.25f32);
    let chain = |start: u32| {
        (0..iterations * ProbeFma::STEPS).fold(start as f32, |x, _| x.mul_add(factor, addend))
    };
    let wanted = 4.0 * (0..ProbeFma::CHAINS).map(chain).sum::<f32>();
    let params = ProbeFmaParams {
        iterations,
        factor,
        addend,
        wanted,
    };
    let out = buffer(&[0.0f32]);
    let bindings = [Binding::Uniform(bytes_of(&params)), Binding::Buffer(&out)];
    run(
        &ProbeFma.kernel().unwrap(),
        &bindings,
        Workgroups::Linear(1),
    );
    assert_eq!(read(&out), [wanted]);
}

#[test]
fn every_product_of_matrices_is_added() {
    let adapter = context().adapter();
    let [smallest, subgroup] = adapter.subgroup_sizes;
    let has_coop = context().has(Feature::Coop) && smallest == subgroup;
    let Some(size) = adapter.coop_size.filter(|_| has_coop) else {
        println!("skipped: {} has no cooperative matrices", adapter.name);
        return;
    };
    const WORKGROUPS: u32 = 2;
    let params = ProbeCoopParams {
        iterations: 3,
        value: 0.25,
    };
    let out = buffer(&[0.0f32; (WORKGROUPS * ProbeCoop::SUBGROUPS) as usize]);
    let bindings = [Binding::Uniform(bytes_of(&params)), Binding::Buffer(&out)];
    let kernel = ProbeCoop { size, subgroup }.kernel().unwrap();
    run(&kernel, &bindings, Workgroups::Linear(WORKGROUPS));
    let [rows, tokens] = ProbeCoop::SUMS;
    let sums = (0..rows).flat_map(|r| (0..tokens).map(move |t| (r + 1) * (rows + t + 1)));
    let expected = (sums.sum::<u32>() * 3 * size.pow(3)) as f32 * 0.25 * 0.25;
    assert_eq!(read(&out), vec![expected; out.bytes() as usize / 4]);
}

#[test]
fn steps_count_their_runs() {
    let out = buffer(&[0u32]);
    let kernel = ProbeStep.kernel().unwrap();
    for expected in 1..=3 {
        run(&kernel, &[Binding::Buffer(&out)], Workgroups::Linear(1));
        assert_eq!(read_words(&out), expected);
    }
}
