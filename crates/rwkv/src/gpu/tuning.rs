//! How the work is divided on a device: choices that change the speed of a model, and its results by rounding at most.

use std::fmt;

use serde::{Deserialize, Serialize};
use thalweg_gpu::{Adapter, Limits};
use thalweg_shaders::SPAN;
use thalweg_shaders::kernels::{CoopTile, Matmul};

use super::Activations;
use super::activations::Activations as Buffers;
use crate::{Error, Hyperparameters};

/// How products, and the reading of a prompt, are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The most tokens that are read in one step, 1 to [`GpuModel::largest_chunk`](super::GpuModel::largest_chunk). More
    /// take more memory.
    pub chunk: u32,
    /// Threads a side of the workgroup of exact matrix products: 8, 16, or 32 where the device has workgroups of 1,024.
    pub block_size: u32,
    /// One token: the first products of time mixing.
    pub projections: RowSharing,
    /// One token: the last product of time mixing.
    pub output: RowSharing,
    /// One token: the first product of channel mixing.
    pub ffn_key: RowSharing,
    /// One token: the last product of channel mixing.
    pub ffn_value: RowSharing,
    /// One token: the head.
    pub head: RowSharing,
    /// Products with up to 128 tokens.
    pub few_tokens: Division,
    /// Products with more tokens.
    pub many_tokens: Division,
    /// The tile on cooperative matrices of products with 257 to 768 tokens: with more the largest device is full whatever the
    /// tile, with fewer not all of it has work, and in between the last workgroups are what it waits for.
    pub mid_tokens: Tile,
}

/// How the invocations of a workgroup share rows in products with one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowSharing {
    /// Invocations that share rows: one of [`RowSharing::LANES`], no more than a workgroup has.
    pub lanes: u32,
    /// Rows that they share: one of [`RowSharing::ROWS`].
    pub rows: u32,
    /// Invocations of a workgroup: one of [`RowSharing::WORKGROUPS`].
    pub workgroup: u32,
    /// Pieces of 32 weights of each row that an invocation has under way: one of [`RowSharing::DEPTHS`].
    pub depth: u32,
}

/// Fewer workgroups leave units of a large device without any.
const LEAST_WORKGROUPS: usize = 150;
/// As many as are dealt out evenly enough.
const ENOUGH_WORKGROUPS: usize = 200;
/// Weights of matrices that hardly take longer than to begin and to end.
const FEW_WEIGHTS: usize = 1 << 22;

/// How products with many tokens are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Division {
    /// The tile on cooperative matrices.
    pub tile: Tile,
    /// Workgroups that keep the device busy: products of fewer are made in parts along their columns, and added up.
    pub busy_workgroups: u32,
}

/// What a workgroup computes at a time on cooperative matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tile {
    /// [`CoopTile::NARROW`]
    Narrow,
    /// [`CoopTile::SLIM`]
    Slim,
    /// [`CoopTile::SMALL`]
    Small,
    /// [`CoopTile::MEDIUM`]
    Medium,
    /// [`CoopTile::LARGE`]
    Large,
}

impl RowSharing {
    /// The numbers of lanes that there are.
    pub const LANES: [u32; 5] = [8, 16, 32, 64, 128];
    /// The numbers of rows that lanes may share.
    pub const ROWS: [u32; 3] = [1, 2, 4];
    /// The sizes of workgroups.
    pub const WORKGROUPS: [u32; 3] = [64, 128, 256];
    /// How many pieces may be under way.
    pub const DEPTHS: [u32; 3] = [1, 2, 3];

    pub(super) const fn new(lanes: u32, rows: u32, workgroup: u32, depth: u32) -> RowSharing {
        RowSharing {
            lanes,
            rows,
            workgroup,
            depth,
        }
    }

    /// Full workgroups that a matrix of so many rows makes.
    const fn workgroups(&self, rows: usize) -> usize {
        rows / (self.workgroup / self.lanes * self.rows) as usize
    }
}

impl fmt::Display for RowSharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowSharing {
            lanes,
            rows,
            workgroup,
            depth,
        } = self;
        write!(f, "{lanes}x{rows} of {workgroup}, {depth} ahead")
    }
}

impl Tile {
    /// All tiles.
    pub const ALL: [Tile; 5] = [
        Tile::Narrow,
        Tile::Slim,
        Tile::Small,
        Tile::Medium,
        Tile::Large,
    ];

    pub(super) fn coop(self) -> CoopTile {
        match self {
            Tile::Narrow => CoopTile::NARROW,
            Tile::Slim => CoopTile::SLIM,
            Tile::Small => CoopTile::SMALL,
            Tile::Medium => CoopTile::MEDIUM,
            Tile::Large => CoopTile::LARGE,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Tile::Narrow => "narrow",
            Tile::Slim => "slim",
            Tile::Small => "small",
            Tile::Medium => "medium",
            Tile::Large => "large",
        }
    }
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning::of(Activations::F32)
    }
}

impl Tuning {
    /// What was best on the devices that the kernels were made on.
    pub const fn of(activations: Activations) -> Tuning {
        // The more invocations share a row, the fewer the times that its input is read; where workgroups make the input
        // themselves, more rows of fewer invocations make fewer workgroups.
        let [output, ffn_key, ffn_value, head] = match activations {
            Activations::F32 => [
                RowSharing::new(128, 4, 128, 1),
                RowSharing::new(16, 2, 128, 2),
                RowSharing::new(128, 4, 128, 1),
                RowSharing::new(8, 2, 128, 1),
            ],
            Activations::Q8 => [
                RowSharing::new(32, 2, 128, 1),
                RowSharing::new(8, 2, 128, 1),
                RowSharing::new(64, 2, 128, 1),
                RowSharing::new(8, 2, 256, 1),
            ],
        };
        Tuning {
            chunk: 256,
            block_size: Matmul::DEFAULT_BLOCK_SIZE,
            projections: RowSharing::new(16, 4, 128, 1),
            output,
            ffn_key,
            ffn_value,
            head,
            // With few tokens the parts cost more to add up than an idle part of the device is worth.
            few_tokens: Division {
                tile: Tile::Small,
                busy_workgroups: 200,
            },
            many_tokens: Division {
                tile: Tile::Medium,
                busy_workgroups: 260,
            },
            mid_tokens: Tile::Large,
        }
    }

    /// The same for a model: small matrices leave invocations and whole units idle where many share several rows, so that each row
    /// has as many of its own there as take it in two rounds; large ones keep every unit busy in larger workgroups, too, which make
    /// their input fewer times.
    pub fn suiting(hp: &Hyperparameters, activations: Activations) -> Tuning {
        let mut tuning = Tuning::of(activations);
        let large = RowSharing::new(16, 4, 256, 1);
        if large.workgroups(hp.ffn) >= ENOUGH_WORKGROUPS {
            tuning.ffn_key = large;
        }
        let suited = |sharing: RowSharing, rows: usize, columns: usize| {
            let spans = columns / SPAN;
            let is_small = sharing.workgroups(rows) < LEAST_WORKGROUPS
                || sharing.lanes as usize > 2 * spans
                || rows * columns < FEW_WEIGHTS;
            if is_small {
                let lanes = spans.next_power_of_two() / 2;
                RowSharing::new(lanes.clamp(8, 64) as u32, 1, 128, 2)
            } else {
                sharing
            }
        };
        Tuning {
            projections: suited(tuning.projections, 3 * hp.width, hp.width),
            output: suited(tuning.output, hp.width, hp.width),
            ffn_key: suited(tuning.ffn_key, hp.ffn, hp.width),
            ffn_value: suited(tuning.ffn_value, hp.width, hp.ffn),
            head: suited(tuning.head, hp.vocab, hp.width),
            ..tuning
        }
    }

    /// The tile on cooperative matrices for products with so many tokens.
    pub(super) fn tile(&self, tokens: u32) -> CoopTile {
        let tile = match tokens {
            ..=16 => Tile::Narrow,
            17..=32 => Tile::Slim,
            257..=768 => self.mid_tokens,
            _ => self.division(tokens).tile,
        };
        tile.coop()
    }

    /// How products with so many tokens are divided.
    pub(super) fn division(&self, tokens: u32) -> &Division {
        if tokens <= 128 {
            &self.few_tokens
        } else {
            &self.many_tokens
        }
    }

    /// Workgroups that keep the device busy with so many tokens on cooperative matrices. The smallest tile takes half as many again:
    /// a workgroup has less to do while it waits.
    pub(super) fn busy_workgroups(&self, tokens: u32) -> u32 {
        let busy = self.division(tokens).busy_workgroups;
        match self.tile(tokens) {
            CoopTile::NARROW => busy + busy / 2,
            _ => busy,
        }
    }

    /// Refuses what such a device cannot do or the kernels are not made for.
    ///
    /// # Errors
    /// [`Error::Setting`] names the choice, what it is and what it may be.
    pub fn check(&self, hp: &Hyperparameters, adapter: &Adapter) -> Result<(), Error> {
        let limits = &adapter.limits;
        let largest = Buffers::largest_capacity(hp, limits);
        if !(1..=largest).contains(&(self.chunk as usize)) {
            return Err(Error::Setting {
                name: "chunk size",
                found: self.chunk as usize,
                expected: format!("1 to {largest} for this model on this device"),
            });
        }
        one_of("block size", self.block_size, &block_sizes(limits))?;
        let workgroups = workgroups(adapter);
        for sharing in [
            self.projections,
            self.output,
            self.ffn_key,
            self.ffn_value,
            self.head,
        ] {
            one_of("size of workgroups", sharing.workgroup, &workgroups)?;
            let mut lanes = RowSharing::LANES.to_vec();
            lanes.retain(|lanes| *lanes <= sharing.workgroup);
            one_of("number of lanes", sharing.lanes, &lanes)?;
            one_of("number of shared rows", sharing.rows, &RowSharing::ROWS)?;
            one_of("number of pieces ahead", sharing.depth, &RowSharing::DEPTHS)?;
        }
        Ok(())
    }
}

/// Block sizes that the device has the invocations for.
pub(super) fn block_sizes(limits: &Limits) -> Vec<u32> {
    let fits = |size: &u32| size * size <= limits.workgroup_invocations;
    Matmul::BLOCK_SIZES.into_iter().filter(fits).collect()
}

/// Sizes of workgroups that the device can have; they consist of whole subgroups.
pub(super) fn workgroups(adapter: &Adapter) -> Vec<u32> {
    let [_, subgroup] = adapter.subgroup_sizes;
    let possible = subgroup..=adapter.limits.workgroup_invocations;
    let sizes = RowSharing::WORKGROUPS.into_iter();
    sizes.filter(|size| possible.contains(size)).collect()
}

fn one_of(name: &'static str, found: u32, possible: &[u32]) -> Result<(), Error> {
    if possible.contains(&found) {
        return Ok(());
    }
    let possible: Vec<String> = possible.iter().map(u32::to_string).collect();
    Err(Error::Setting {
        name,
        found: found as usize,
        expected: format!("{} on this device", possible.join(" or ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_gguf::GgufFile;
    use thalweg_gpu::Context;

    fn hyperparameters() -> Hyperparameters {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/synth-tiny-q4_k_m.gguf"
        );
        Hyperparameters::from_gguf(&GgufFile::open(path.as_ref()).unwrap()).unwrap()
    }

    #[test]
    fn tiles_go_by_the_tokens() {
        let tuning = Tuning::default();
        let tiles = [
            (16, CoopTile::NARROW),
            (17, CoopTile::SLIM),
            (33, CoopTile::SMALL),
            (128, CoopTile::SMALL),
            (129, CoopTile::MEDIUM),
            (257, CoopTile::LARGE),
            (768, CoopTile::LARGE),
            (769, CoopTile::MEDIUM),
        ];
        for (tokens, expected) in tiles {
            assert_eq!(tuning.tile(tokens), expected, "{tokens}");
        }
    }

    #[test]
    fn small_matrices_are_shared_by_fewer() {
        let wide = Hyperparameters {
            width: 2560,
            ffn: 10240,
            vocab: 65536,
            ..hyperparameters()
        };
        for activations in [Activations::F32, Activations::Q8] {
            let all = Tuning::of(activations);
            assert_eq!(Tuning::suiting(&wide, activations), all);
        }
        let narrow = Hyperparameters {
            width: 768,
            ffn: 3072,
            ..wide
        };
        let few = RowSharing::new(16, 1, 128, 2);
        let all = Tuning::of(Activations::F32);
        let expected = Tuning {
            projections: few,
            output: few,
            ffn_key: few,
            ffn_value: RowSharing::new(64, 1, 128, 2),
            ..all
        };
        assert_eq!(Tuning::suiting(&narrow, Activations::F32), expected);
    }

    #[test]
    fn large_matrices_make_large_workgroups() {
        let wide = Hyperparameters {
            width: 4096,
            ffn: 16384,
            vocab: 65536,
            ..hyperparameters()
        };
        let ffn_key = RowSharing::new(16, 4, 256, 1);
        for activations in [Activations::F32, Activations::Q8] {
            let expected = Tuning {
                ffn_key,
                ..Tuning::of(activations)
            };
            assert_eq!(Tuning::suiting(&wide, activations), expected);
        }
    }

    #[test]
    fn choices_that_no_device_has_are_refused_by_name() {
        let context = Context::of_any_kind().unwrap();
        let check = |change: &dyn Fn(&mut Tuning)| {
            let mut tuning = Tuning::default();
            change(&mut tuning);
            tuning.check(&hyperparameters(), context.adapter())
        };
        check(&|_| ()).unwrap();
        type Change = fn(&mut Tuning);
        let refused: [(&str, Change); 10] = [
            ("chunk size is 0", |tuning| tuning.chunk = 0),
            ("chunk size is 4294967295", |tuning| tuning.chunk = u32::MAX),
            ("block size is 64", |tuning| tuning.block_size = 64),
            ("lanes is 0", |tuning| tuning.output.lanes = 0),
            ("lanes is 48", |tuning| tuning.ffn_value.lanes = 48),
            ("lanes is 128", |tuning| {
                tuning.head = RowSharing::new(128, 1, 64, 1)
            }),
            ("ahead is 4", |tuning| tuning.head.depth = 4),
            ("shared rows is 3", |tuning| tuning.ffn_value.rows = 3),
            ("workgroups is 96", |tuning| tuning.ffn_key.workgroup = 96),
            ("workgroups is 4096", |tuning| {
                tuning.output.workgroup = 4096
            }),
        ];
        for (message, change) in refused {
            let error = check(&change).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
