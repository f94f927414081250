//! Steps of one token, which have a plan of their own, with and without subgroup operations.

use std::sync::Arc;

use thalweg_gpu::{Context, DeviceRequest, Feature};
use thalweg_rwkv::{CpuModel, CpuSession, GpuModel, GpuOptions, GpuSession, Session, Wanted};

use crate::batch::assert_same_states;
use crate::{CONTEXT, chunks_of, largest_difference, synth_tiny, tokens};

/// The device of the other tests without subgroup operations.
fn plain_context() -> Arc<Context> {
    let request = DeviceRequest {
        backend: CONTEXT.adapter().backend,
        device: Some(thalweg_gpu::DeviceSelector::Name(
            CONTEXT.adapter().name.clone(),
        )),
        features_off: vec![Feature::Subgroup],
        ..DeviceRequest::default()
    };
    Arc::new(Context::new(&request).unwrap())
}

#[test]
fn one_token_steps_among_chunks_keep_the_state() {
    for context in [Arc::clone(&CONTEXT), plain_context()] {
        let level = context.has(Feature::Subgroup);
        let options = GpuOptions {
            tuning: chunks_of(32),
            ..GpuOptions::default()
        };
        let model = GpuModel::load(context, &synth_tiny(), options).unwrap();
        let mut gpu = GpuSession::new(Arc::new(model)).unwrap();
        let mut cpu = CpuSession::new(Arc::new(CpuModel::load(synth_tiny()).unwrap()));
        let (tokens, mut read) = (tokens(60), 0);
        for (piece, wanted) in [
            (1, Wanted::Last),
            (1, Wanted::Nothing),
            (1, Wanted::All),
            (2, Wanted::Last),
            (1, Wanted::Last),
            (33, Wanted::Last), // a chunk, and a step of one token
            (20, Wanted::Nothing),
            (1, Wanted::Last),
        ] {
            let piece = &tokens[read..read + piece];
            read += piece.len();
            let expected = cpu.forward(piece, wanted).unwrap();
            let off = largest_difference(&gpu.forward(piece, wanted).unwrap(), &expected);
            assert!(
                off <= 5e-5,
                "subgroup {level}, token {read}: off by {off:e}"
            );
            let (found, expected) = (gpu.state().unwrap(), cpu.state().unwrap());
            let what = format!("subgroup {level}, token {read}");
            assert_same_states(&found, &expected, 1e-5, &what);
        }
    }
}
