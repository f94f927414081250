//! What happens head by head: the recurrence and what is around it.

use thalweg_gpu::{Work, Workgroups};
use thalweg_shaders::kernels::{
    HEAD_SIZE, HeadStep, LowRankParams, Number, Readout, RemovalKey, Replay, Sequence, Slot,
    TimeMixParams, TimeMixStep, TimeMixStepParams, Wkv7, Wkv7Apply, Wkv7Prepare, Wkv7Replay,
};
use thalweg_shaders::{Encoding, Error, SPAN, VEC4_BYTES};

use super::{Case, Input, Matrix, Numbers, Shapes, bytes_of_numbers};

/// Channels of a head.
const N: usize = HEAD_SIZE as usize;
/// Operations of the recurrence for each number of the state and token: decay and product with the removal key, removal,
/// addition and product with the receptance, two each.
const STATE_FLOPS: f64 = 10.0;

/// So many tokens of so many heads.
#[derive(Clone, Copy)]
struct Extent {
    heads: usize,
    tokens: usize,
}

impl Extent {
    fn all(shapes: &Shapes) -> impl Iterator<Item = Extent> {
        let with_tokens = |heads: &usize| {
            let heads = *heads;
            let tokens = shapes.tokens.iter();
            tokens.map(move |tokens| Extent {
                heads,
                tokens: *tokens,
            })
        };
        shapes.heads.iter().flat_map(with_tokens)
    }

    fn name(self) -> String {
        format!("{} heads/{}", self.heads, self.tokens)
    }

    fn width(self) -> usize {
        self.heads * N
    }

    /// Numbers of a slot.
    fn numbers(self) -> usize {
        self.tokens * self.width()
    }

    fn state(self) -> usize {
        self.width() * N
    }

    /// All slots, each in the range of what it stands for.
    fn mixed(self) -> Input {
        let slot = |slot| {
            let (low, high) = match slot {
                Slot::Decay => (0.546, 1.0),
                Slot::Iclr => (0.0, 1.0),
                Slot::RemovalKey => (-0.125, 0.125),
                _ => (-1.0, 1.0),
            };
            Numbers::new(self.numbers(), low, high)
        };
        Input::Numbers(SLOTS.map(slot).to_vec())
    }

    /// The vectors follow one another.
    fn params(self) -> Input {
        let width = self.width() as u32 / 4;
        Input::uniform(&TimeMixParams {
            slot_stride: self.numbers() as u32 / 4,
            width,
            value_slot: Slot::Value as u32,
            k_k: 0,
            k_a: width,
            r_k: 2 * width,
            norm_weight: 3 * width,
            norm_bias: 4 * width,
        })
    }

    fn vectors(self) -> Input {
        Input::numbers(5 * self.width())
    }

    /// The work of the recurrence, which reads six slots and writes one.
    fn recurrence(self) -> Work {
        Work {
            flops: STATE_FLOPS * (self.tokens * self.state()) as f64,
            bytes: bytes_of_numbers(7 * self.numbers() + 2 * self.state()),
        }
    }
}

const SLOTS: [Slot; Slot::COUNT as usize] = [
    Slot::Receptance,
    Slot::Key,
    Slot::Value,
    Slot::FirstValue,
    Slot::Decay,
    Slot::Iclr,
    Slot::Gate,
    Slot::RemovalKey,
];

/// `removal_key`
pub(super) fn removal_key(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    Extent::all(shapes)
        .map(|extent| {
            let grid = RemovalKey.workgroups(extent.width() as u32, extent.tokens as u32);
            Ok(Case {
                group: "removal_key",
                name: extent.name(),
                kernel: RemovalKey.kernel()?,
                inputs: vec![
                    Input::Rows(extent.tokens),
                    extent.params(),
                    extent.vectors(),
                    extent.mixed(),
                ],
                workgroups: Workgroups::Grid(grid),
                work: Work {
                    flops: 8.0 * extent.numbers() as f64,
                    bytes: bytes_of_numbers(4 * extent.numbers() + 2 * extent.width()),
                },
            })
        })
        .collect()
}

/// `wkv7`, plain and on subgroups: all tokens of one sequence.
pub(super) fn wkv7(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for (subgroup, level) in [(false, "plain"), (true, "subgroup")] {
        for extent in Extent::all(shapes) {
            let kernel = Wkv7 { subgroup };
            let sequence = Sequence {
                slot: 0,
                first: 0,
                count: extent.tokens as u32,
            };
            cases.push(Case {
                group: "wkv7",
                name: format!("{}/{level}", extent.name()),
                kernel: kernel.kernel()?,
                inputs: vec![
                    Input::table(&[sequence]),
                    extent.params(),
                    extent.mixed(),
                    Input::numbers(extent.state()),
                    Input::Room(4 * extent.numbers() as u64),
                ],
                workgroups: Workgroups::Grid(kernel.workgroups(extent.heads as u32, 1)),
                work: extent.recurrence(),
            });
        }
    }
    Ok(cases)
}

/// `head_step`, in both numbers: sequences with one token each.
pub(super) fn head_step(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for output in [Number::F32, Number::F16] {
        for &heads in shapes.heads {
            for &sequences in shapes.sequences {
                let extent = Extent {
                    heads,
                    tokens: sequences,
                };
                cases.push(head_step_case(extent, HeadStep { output })?);
            }
        }
    }
    Ok(cases)
}

/// Each token is a sequence.
fn head_step_case(extent: Extent, kernel: HeadStep) -> Result<Case, Error> {
    let Extent { heads, tokens } = extent;
    let grid = kernel.workgroups(heads as u32, tokens as u32);
    let states = tokens * extent.state();
    Ok(Case {
        group: "head_step",
        name: format!("{}/{}", extent.name(), kernel.output.name()),
        kernel: kernel.kernel()?,
        inputs: vec![
            Input::Rows(tokens),
            extent.params(),
            extent.vectors(),
            extent.mixed(),
            Input::links_of_many(tokens),
            Input::numbers(states),
            Input::Room(4 * extent.numbers() as u64),
        ],
        workgroups: Workgroups::Grid(grid),
        work: Work {
            flops: STATE_FLOPS * states as f64,
            bytes: bytes_of_numbers(2 * states + 7 * extent.numbers() + 5 * extent.width()),
        },
    })
}

/// `wkv7_replay`: a sequence of which half as many guesses are due as it reads now.
pub(super) fn wkv7_replay(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for &heads in shapes.heads {
        for tokens in [4, 16] {
            let (extent, due) = (Extent { heads, tokens }, tokens / 2);
            let updates = Wkv7Replay::UPDATES * extent.numbers();
            let replay = Replay {
                due: due as u32,
                count: tokens as u32,
                ..Replay::default()
            };
            let (states, numbers) = (extent.state(), extent.numbers());
            cases.push(Case {
                group: "wkv7_replay",
                name: extent.name(),
                kernel: Wkv7Replay.kernel()?,
                inputs: vec![
                    Input::table(&[replay]),
                    extent.params(),
                    extent.mixed(),
                    Input::numbers(states),
                    Input::Numbers(vec![Numbers::new(updates, 0.0, 0.1)]),
                    Input::Room(4 * updates as u64),
                    Input::Room(4 * numbers as u64),
                ],
                workgroups: Workgroups::Grid(Wkv7Replay.workgroups(heads as u32, 1)),
                work: Work {
                    flops: STATE_FLOPS * (states * (tokens + due)) as f64,
                    bytes: bytes_of_numbers(2 * states + 7 * numbers + 3 * updates / 2),
                },
            });
        }
    }
    Ok(cases)
}

/// `wkv7_prepare` and `wkv7_apply`, which take together what the recurrence in chunks takes. The work of the first is not
/// part of the recurrence, so only its bytes count.
pub(super) fn wkv7_chunked(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for extent in Extent::all(shapes) {
        let (heads, tokens) = (extent.heads as u32, extent.tokens as u32);
        let scratch = Wkv7Prepare::scratch_bytes(heads, tokens);
        cases.push(Case {
            group: "wkv7_prepare",
            name: extent.name(),
            kernel: Wkv7Prepare.kernel()?,
            inputs: vec![
                Input::Rows(extent.tokens),
                extent.params(),
                extent.mixed(),
                Input::Room(scratch),
            ],
            workgroups: Workgroups::Grid(Wkv7Prepare.workgroups(heads, tokens)),
            work: Work {
                flops: 0.0,
                bytes: bytes_of_numbers(5 * extent.numbers()) + scratch as f64,
            },
        });
        let recurrence = extent.recurrence();
        cases.push(Case {
            group: "wkv7_apply",
            name: extent.name(),
            kernel: Wkv7Apply.kernel()?,
            inputs: vec![
                Input::Rows(extent.tokens),
                extent.params(),
                extent.mixed(),
                Input::numbers(extent.state()),
                Input::Room(4 * extent.numbers() as u64),
                Input::Room(scratch),
            ],
            workgroups: Workgroups::Grid(Wkv7Apply.workgroups(heads)),
            work: Work {
                bytes: recurrence.bytes + scratch as f64,
                ..recurrence
            },
        });
    }
    Ok(cases)
}

/// `readout`, in both numbers.
pub(super) fn readout(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for output in [Number::F32, Number::F16] {
        for extent in Extent::all(shapes) {
            let kernel = Readout { output };
            let grid = kernel.workgroups(extent.width() as u32, extent.tokens as u32);
            cases.push(Case {
                group: "readout",
                name: format!("{}/{}", extent.name(), output.name()),
                kernel: kernel.kernel()?,
                inputs: vec![
                    Input::Rows(extent.tokens),
                    extent.params(),
                    extent.vectors(),
                    extent.mixed(),
                    Input::numbers(extent.numbers()),
                    Input::Room(4 * extent.numbers() as u64),
                ],
                workgroups: Workgroups::Grid(grid),
                work: Work {
                    flops: 14.0 * extent.numbers() as f64,
                    bytes: bytes_of_numbers(6 * extent.numbers() + 3 * extent.width()),
                },
            });
        }
    }
    Ok(cases)
}

/// `time_mix_step`: the first layer and another, plain and on subgroups, with the encodings of real files.
pub(super) fn time_mix_step(shapes: &Shapes) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for &heads in shapes.heads {
        for (first_layer, layer) in [(true, "first layer"), (false, "other layer")] {
            for (subgroup, level) in [(false, "plain"), (true, "subgroup")] {
                let mut case = time_mix_step_case(heads, shapes.ranks, first_layer, subgroup)?;
                case.name = format!("{heads} heads/{layer}/{level}");
                cases.push(case);
            }
        }
    }
    Ok(cases)
}

fn time_mix_step_case(
    heads: usize,
    ranks: [usize; 4],
    first_layer: bool,
    subgroup: bool,
) -> Result<Case, Error> {
    let extent = Extent { heads, tokens: 1 };
    let width = extent.width();
    let encodings = [Encoding::F32, Encoding::F16, Encoding::F16, Encoding::F16];
    let spans = std::array::from_fn(|pair| match first_layer && pair == 2 {
        true => 0,
        false => encodings[pair].spans(ranks[pair]) as u32,
    });
    let matrices: [Matrix; 4] = std::array::from_fn(|pair| Matrix {
        encoding: encodings[pair],
        rows: width,
        columns: ranks[pair],
    });
    let mut weights = 0;
    let mut hidden = SLOTS.len() * width;
    let pairs = matrices.map(|matrix| {
        let params = LowRankParams {
            weights: (weights / VEC4_BYTES) as u32,
            stride: (matrix.encoding.row_bytes(matrix.columns) / VEC4_BYTES) as u32,
            hidden: hidden as u32 / 4,
            padding: 0,
        };
        weights += matrix.bytes();
        hidden += matrix.columns.next_multiple_of(SPAN);
        params
    });
    let vector = |index: usize| (index * width) as u32;
    let params = TimeMixStepParams {
        pairs,
        slot_stride: width as u32 / 4,
        decay_bias: vector(0),
        iclr_bias: vector(1),
        value_bias: vector(2),
        k_k: vector(3),
        k_a: vector(4),
        r_k: vector(5),
        norm_weight: vector(6),
        norm_bias: vector(7),
        padding: [0; 3],
    };
    let step = TimeMixStep {
        rounds_output: false,
        encodings,
        spans,
        first_layer,
        subgroup,
    };
    let used = || matrices.iter().zip(spans).filter(|(_, spans)| *spans > 0);
    let flops: f64 = used().map(|(matrix, _)| matrix.flops(1)).sum();
    let weight_bytes: usize = used().map(|(matrix, _)| matrix.bytes()).sum();
    Ok(Case {
        group: "time_mix_step",
        name: String::new(),
        kernel: step.kernel()?,
        inputs: vec![
            Input::uniform(&params),
            Input::numbers(8 * width),
            Input::Weights(matrices.to_vec()),
            Input::numbers(hidden),
            Input::numbers(extent.state()),
            Input::Room(4 * width as u64),
        ],
        workgroups: Workgroups::Grid(step.workgroups(heads as u32)),
        work: Work {
            flops: flops + STATE_FLOPS * extent.state() as f64,
            bytes: weight_bytes as f64 + bytes_of_numbers(2 * extent.state() + hidden + 9 * width),
        },
    })
}
