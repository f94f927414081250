//! The choices that a tuner may change one by one, and what there is to try for each.

use super::tuning::block_sizes;
use super::{GpuModel, Precision, RowSharing, Tile, Tuning};

/// One choice of a [`Tuning`].
#[derive(Debug, Clone, Copy)]
pub struct Knob {
    /// What is chosen.
    pub name: &'static str,
    /// The step whose time shows what a choice is worth.
    pub step: TimedStep,
    field: Field,
}

/// A step that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimedStep {
    /// One token.
    OneToken,
    /// 64 tokens.
    FewTokens,
    /// As many tokens as are read at once.
    Chunk,
}

/// Where the choice stands, and among what it is made.
#[derive(Debug, Clone, Copy)]
enum Field {
    Number(fn(&mut Tuning) -> &mut u32, Values),
    Tile(fn(&mut Tuning) -> &mut Tile),
    Sharing(fn(&mut Tuning) -> &mut RowSharing),
}

#[derive(Debug, Clone, Copy)]
enum Values {
    BlockSizes,
    BusyWorkgroups,
    Chunks,
}

/// Workgroups that may be enough to keep a device busy; with 0 no product is made in parts.
const BUSY_WORKGROUPS: [u32; 5] = [0, 100, 200, 400, 800];
/// How rows may be shared in products with one token: few lanes and many of them, each with few and with more weights
/// under way.
const SHARINGS: [RowSharing; 10] = [
    RowSharing::new(8, 4, 128, 1),
    RowSharing::new(16, 2, 128, 2),
    RowSharing::new(16, 4, 128, 1),
    RowSharing::new(16, 4, 256, 1),
    RowSharing::new(32, 1, 128, 2),
    RowSharing::new(32, 2, 128, 2),
    RowSharing::new(32, 4, 256, 1),
    RowSharing::new(64, 2, 128, 2),
    RowSharing::new(64, 4, 128, 1),
    RowSharing::new(128, 4, 128, 1),
];
/// Chunks to try.
const CHUNKS: [u32; 6] = [64, 128, 256, 512, 1024, 2048];

/// All choices, in the order in which they are to be tried: the chunk before what is timed by it.
pub const KNOBS: [Knob; 12] = {
    use Field::{Number, Sharing, Tile};
    use TimedStep::{Chunk, FewTokens, OneToken};
    use Values::{BlockSizes, BusyWorkgroups, Chunks};
    const fn knob(step: TimedStep, name: &'static str, field: Field) -> Knob {
        Knob { name, step, field }
    }
    [
        knob(
            OneToken,
            "one token: projections",
            Sharing(|t| &mut t.projections),
        ),
        knob(OneToken, "one token: output", Sharing(|t| &mut t.output)),
        knob(OneToken, "one token: ffn key", Sharing(|t| &mut t.ffn_key)),
        knob(
            OneToken,
            "one token: ffn value",
            Sharing(|t| &mut t.ffn_value),
        ),
        knob(OneToken, "one token: head", Sharing(|t| &mut t.head)),
        knob(
            FewTokens,
            "few tokens: tile",
            Tile(|t| &mut t.few_tokens.tile),
        ),
        knob(
            FewTokens,
            "few tokens: busy workgroups",
            Number(|t| &mut t.few_tokens.busy_workgroups, BusyWorkgroups),
        ),
        knob(
            Chunk,
            "block size",
            Number(|t| &mut t.block_size, BlockSizes),
        ),
        knob(Chunk, "chunk size", Number(|t| &mut t.chunk, Chunks)),
        knob(
            Chunk,
            "many tokens: tile",
            Tile(|t| &mut t.many_tokens.tile),
        ),
        knob(
            Chunk,
            "257 to 768 tokens: tile",
            Tile(|t| &mut t.mid_tokens),
        ),
        knob(
            Chunk,
            "many tokens: busy workgroups",
            Number(|t| &mut t.many_tokens.busy_workgroups, BusyWorkgroups),
        ),
    ]
};

impl Knob {
    /// What `tuning` chooses, in a word.
    pub fn value(&self, mut tuning: Tuning) -> String {
        match self.field {
            Field::Number(number, _) => number(&mut tuning).to_string(),
            Field::Tile(tile) => tile(&mut tuning).name().to_owned(),
            Field::Sharing(sharing) => sharing(&mut tuning).to_string(),
        }
    }

    /// `tuning` with each other choice that is possible on the model's device and may change how fast `model` is.
    pub fn candidates(&self, tuning: Tuning, model: &GpuModel) -> Vec<Tuning> {
        let changed = |change: &dyn Fn(&mut Tuning)| {
            let mut candidate = tuning;
            change(&mut candidate);
            candidate
        };
        let candidates: Vec<Tuning> = match self.field {
            Field::Tile(tile) => tiles(model)
                .iter()
                .map(|other| changed(&|tuning| *tile(tuning) = *other))
                .collect(),
            Field::Sharing(sharing) => SHARINGS
                .iter()
                .map(|other| changed(&|tuning| *sharing(tuning) = *other))
                .collect(),
            Field::Number(number, values) => values
                .on(model)
                .into_iter()
                .map(|value| changed(&|tuning| *number(tuning) = value))
                .collect(),
        };
        let adapter = model.context().adapter();
        let is_possible = |candidate: &Tuning| candidate.check(&model.hp, adapter).is_ok();
        candidates
            .into_iter()
            .filter(|candidate| *candidate != tuning && is_possible(candidate))
            .collect()
    }
}

impl Values {
    /// The values that may make a difference to `model`.
    fn on(self, model: &GpuModel) -> Vec<u32> {
        let adapter = model.context().adapter();
        match self {
            // Cooperative matrices have tiles instead.
            Values::BlockSizes if model.precision() == Precision::Fast => Vec::new(),
            Values::BlockSizes => block_sizes(&adapter.limits),
            Values::BusyWorkgroups => BUSY_WORKGROUPS.to_vec(),
            Values::Chunks => CHUNKS.to_vec(),
        }
    }
}

/// The tiles of the cooperative matrices that `model` is multiplied on, if it is.
fn tiles(model: &GpuModel) -> &'static [Tile] {
    match model.precision() {
        Precision::Fast => &Tile::ALL,
        Precision::Exact => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::GpuOptions;
    use thalweg_gguf::GgufFile;
    use thalweg_gpu::Context;

    #[test]
    fn candidates_differ_from_what_is_chosen_in_their_own_choice_alone() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/synth-tiny-q4_k_m.gguf"
        );
        let file = GgufFile::open(path.as_ref()).unwrap();
        let context = Arc::new(Context::of_any_kind().unwrap());
        let model = GpuModel::load(context, &file, GpuOptions::default()).unwrap();
        let tuning = Tuning::default();
        for knob in KNOBS {
            let candidates = knob.candidates(tuning, &model);
            for (index, candidate) in candidates.iter().enumerate() {
                assert!(!candidates[..index].contains(candidate), "{}", knob.name);
                assert_ne!(knob.value(*candidate), knob.value(tuning));
                let others = KNOBS.iter().filter(|other| other.name != knob.name);
                for other in others {
                    assert_eq!(
                        other.value(*candidate),
                        other.value(tuning),
                        "{}",
                        knob.name
                    );
                }
            }
        }
        let count = |name: &str| {
            let knob = KNOBS.iter().find(|knob| knob.name == name).unwrap();
            knob.candidates(tuning, &model).len()
        };
        assert_eq!(count("chunk size"), 5);
        assert_eq!(count("one token: ffn value"), SHARINGS.len() - 1);
        assert_eq!(
            count("many tokens: tile"),
            0,
            "exact products have no tiles"
        );
    }
}
