//! What is to be measured, and on what, as the flags ask for it.

use thalweg_bench::{Sweep, Task};
use thalweg_engine::ChunkSize;

use super::Args;
use crate::failure::Failure;
use crate::flags::Activations;

/// Everything that is to be measured.
pub(super) struct Plan {
    pub(super) places: Vec<Place>,
    /// Samples of each test.
    pub(super) repeat: usize,
}

/// Tests that run on the same sequence, or the same sequences.
pub(super) struct Place {
    pub(super) activations: Activations,
    pub(super) sequences: Sequences,
    pub(super) trials: Vec<Trial>,
}

/// What tests run on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sequences {
    /// One, with sizes as far as they are given.
    One(Option<ChunkSize>, Option<u32>),
    /// So many that are read together.
    Batch(usize),
}

/// One test.
#[derive(Clone, Copy)]
pub(super) struct Trial {
    pub(super) task: Task,
    pub(super) tokens: usize,
    pub(super) sequences: usize,
    pub(super) depth: usize,
}

impl Place {
    /// The most tokens of a prompt that is read there.
    pub(super) fn longest_prompt(&self) -> usize {
        let prompts = self
            .trials
            .iter()
            .filter(|trial| trial.task == Task::Prefill);
        prompts.map(|trial| trial.tokens).max().unwrap_or(0)
    }

    /// How many sequences its tests have.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.trials.iter().map(|trial| trial.sequences)
    }
}

impl Plan {
    /// Every combination of the lists, with those block sizes that matter.
    pub(super) fn new(args: &Args, block_sizes: &[u32]) -> Result<Plan, Failure> {
        let (prefill, decode) = (positive(&args.prefill), positive(&args.decode));
        let parallel = args.parallel.as_ref().map_or(&[][..], Sweep::numbers);
        if decode.is_empty() && !parallel.is_empty() {
            let message = "--parallel decodes as many tokens as --decode says, which is 0; expected 1 at least";
            return Err(Failure::Usage(message.to_owned()));
        }
        if prefill.is_empty() && decode.is_empty() && !args.limits && !args.check {
            let message = "--prefill and --decode are both 0, expected something to measure; give one of them";
            return Err(Failure::Usage(message.to_owned()));
        }
        let depths = args.depth.numbers();
        let mut places = Vec::new();
        for &activations in &args.activations {
            let mut add = |sequences, trials| add(&mut places, activations, sequences, trials);
            for sizes in sizes(args, block_sizes)? {
                add(sizes, trials(&prefill, &[1], depths, &[Task::Prefill]));
            }
            add(
                Sequences::One(None, None),
                trials(&decode, &[1], depths, &[Task::Decode]),
            );
            let several = parallel.iter().copied().filter(|sequences| *sequences > 1);
            let generating: Vec<usize> = std::iter::once(1).chain(several).collect();
            let most = generating.iter().copied().max().unwrap_or(1);
            let mut in_batch = trials(&decode, parallel, depths, &[Task::Parallel]);
            in_batch.extend(trials(
                &decode,
                &generating,
                depths,
                &[Task::Sampled, Task::Loop],
            ));
            add(Sequences::Batch(most), in_batch);
        }
        Ok(Plan {
            places,
            repeat: usize::from(args.repeat),
        })
    }
}

/// Adds tests to the place that they run in; activations that are named twice count once.
fn add(
    places: &mut Vec<Place>,
    activations: Activations,
    sequences: Sequences,
    trials: Vec<Trial>,
) {
    let is_same =
        |place: &&mut Place| (place.activations, place.sequences) == (activations, sequences);
    if trials.is_empty() {
        return;
    }
    match places.iter_mut().find(is_same) {
        Some(place) => place.trials.extend(trials),
        None => places.push(Place {
            activations,
            sequences,
            trials,
        }),
    }
}

/// Numbers of tokens; 0 stands for no test.
fn positive(sweep: &Sweep) -> Vec<usize> {
    let numbers = sweep.numbers().iter().copied();
    numbers.filter(|tokens| *tokens > 0).collect()
}

fn trials(tokens: &[usize], sequences: &[usize], depths: &[usize], tasks: &[Task]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for &tokens in tokens {
        for &sequences in sequences {
            for &depth in depths {
                trials.extend(tasks.iter().map(|&task| Trial {
                    task,
                    tokens,
                    sequences,
                    depth,
                }));
            }
        }
    }
    trials
}

/// Every combination of chunk size and block size; what is not given is the device's to say.
fn sizes(args: &Args, block_sizes: &[u32]) -> Result<Vec<Sequences>, Failure> {
    let chunk_sizes = args.chunk_size.as_ref().map_or(&[][..], Sweep::numbers);
    let chunk_sizes = chunk_sizes.iter().copied().map(ChunkSize::new);
    let chunk_sizes: Vec<ChunkSize> = chunk_sizes.collect::<Result<_, _>>()?;
    let block_sizes = or_default(block_sizes);
    let with_each = |chunk_size| {
        let block_sizes = block_sizes.iter();
        block_sizes.map(move |block_size| Sequences::One(chunk_size, *block_size))
    };
    let sizes = or_default(&chunk_sizes);
    Ok(sizes.into_iter().flat_map(with_each).collect())
}

fn or_default<T: Copy>(given: &[T]) -> Vec<Option<T>> {
    match given.is_empty() {
        true => vec![None],
        false => given.iter().copied().map(Some).collect(),
    }
}
