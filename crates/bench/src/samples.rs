//! Reports that tests are made of.

use crate::{Activations, Case, Device, HostMemory, Load, Model, Report, Setting, Task, Work};

pub(crate) fn prefill(tokens: usize, chunk_size: usize) -> Setting {
    Setting {
        task: Task::Prefill,
        tokens,
        sequences: 1,
        depth: 0,
        chunk_size,
        block_size: Some(16),
        activations: Activations::F32,
    }
}

pub(crate) fn decode(tokens: usize) -> Setting {
    Setting {
        task: Task::Decode,
        chunk_size: 1,
        block_size: None,
        ..prefill(tokens, 1)
    }
}

pub(crate) fn parallel(tokens: usize, sequences: usize) -> Setting {
    Setting {
        task: Task::Parallel,
        sequences,
        ..decode(tokens)
    }
}

pub(crate) fn case(setting: Setting, samples_s: &[f64]) -> Case {
    Case {
        samples_s: samples_s.to_vec(),
        ..Case::new(setting)
    }
}

pub(crate) fn report() -> Report {
    Report {
        program: "thalweg 1.2.3".to_owned(),
        arguments: vec!["bench".to_owned()],
        platform: "linux x86_64".to_owned(),
        device: Device {
            backend: "vulkan".to_owned(),
            name: "A card".to_owned(),
            driver: "driver 5".to_owned(),
            features: vec!["subgroup".to_owned(), "f16".to_owned()],
            precision: "exact".to_owned(),
        },
        model: Model {
            file: "a.gguf".to_owned(),
            file_bytes: 1_500_000,
            hash: None,
            layers: 2,
            width: 64,
            vocab: 100,
            work: Some(Work {
                layer_bytes: 1_000_000,
                head_bytes: 200_000,
                state_bytes: 30_000,
                layer_elements: 2_000_000,
                head_elements: 400_000,
                recurrence_elements: 8192,
            }),
        },
        tuned: false,
        seed: Some(1),
        limits: None,
        check: None,
        loads: vec![Load {
            seconds: 0.25,
            host_memory: Some(HostMemory {
                anonymous_bytes: 20_000_000,
                peak_bytes: 50_000_000,
            }),
            device_bytes: Some(2_000_000),
        }],
        cases: vec![
            Case {
                first_s: Some(6.5),
                device_bytes: Some(3_000_000),
                ..case(prefill(512, 128), &[2.0, 1.0, 4.0])
            },
            case(decode(64), &[0.5, 0.5, 0.5]),
        ],
    }
}
