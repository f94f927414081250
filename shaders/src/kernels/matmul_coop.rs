//! `matmul_coop.wgsl`: products on cooperative matrices.

use std::iter;

use minijinja::context;

use super::product::{BINDINGS, HIDDEN_SCALE, MAX_JOBS};
use super::template::render;
use super::{Kernel, Number, Variant};
use crate::{Encoding, Error};

/// A matrix times many tokens on cooperative matrices: operands are rounded to f16, and so are the scales and minima of integers;
/// sums are f32. Bindings: rows, jobs, vectors, weights, input (f16), out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatmulCoop {
    /// How the matrices are encoded.
    pub encoding: Encoding,
    /// The first of the jobs, behind others of integers, whose matrices are in F16 instead.
    pub halves_from: Option<u32>,
    /// Rows and columns of the device's square matrices: 16 or 8.
    pub size: u32,
    /// Invocations of a subgroup, which must be of that size on the device.
    pub subgroup: u32,
    /// How the work is divided.
    pub tile: CoopTile,
    /// What the results are stored as.
    pub output: Number,
}

/// What a workgroup computes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CoopTile {
    /// Subgroups side by side along the rows.
    pub subgroup_rows: u32,
    /// Subgroups side by side along the tokens.
    pub subgroup_tokens: u32,
    /// Matrices of sums that a subgroup holds along the rows.
    pub rows: u32,
    /// Matrices of sums that a subgroup holds along the tokens.
    pub tokens: u32,
    /// Spans of 32 columns that are decoded at a time.
    pub steps: u32,
}

impl CoopTile {
    /// 128 rows by 128 tokens, by as many subgroups as a workgroup may have.
    pub const LARGE: CoopTile = CoopTile::new([2, 4], [4, 2], 2);
    /// 128 rows by 128 tokens, by half as many: each reads less for what it multiplies.
    pub const MEDIUM: CoopTile = CoopTile::new([2, 2], [4, 4], 1);
    /// 64 rows by 64 tokens.
    pub const SMALL: CoopTile = CoopTile::new([2, 2], [2, 2], 2);
    /// 64 rows by 32 tokens.
    pub const SLIM: CoopTile = CoopTile::new([4, 1], [1, 2], 2);
    /// 64 rows by 16 tokens.
    pub const NARROW: CoopTile = CoopTile::new([4, 1], [1, 1], 2);
    /// The tiles that there are kernels for.
    pub const ALL: [CoopTile; 5] = [
        CoopTile::LARGE,
        CoopTile::MEDIUM,
        CoopTile::SMALL,
        CoopTile::SLIM,
        CoopTile::NARROW,
    ];

    const fn new(subgroups: [u32; 2], matrices: [u32; 2], steps: u32) -> CoopTile {
        CoopTile {
            subgroup_rows: subgroups[0],
            subgroup_tokens: subgroups[1],
            rows: matrices[0],
            tokens: matrices[1],
            steps,
        }
    }

    /// Its extent in rows and tokens with matrices of `size`.
    pub fn extent(&self, size: u32) -> [u32; 2] {
        [
            self.subgroup_rows * self.rows * size,
            self.subgroup_tokens * self.tokens * size,
        ]
    }
}

impl MatmulCoop {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        let MatmulCoop {
            encoding,
            halves_from,
            size,
            subgroup,
            tile,
            output,
        } = *self;
        let CoopTile {
            subgroup_rows,
            subgroup_tokens,
            rows,
            tokens,
            steps,
        } = tile;
        let [tile_rows, tile_tokens] = tile.extent(size);
        let [beside, from] = match halves_from {
            None => [String::new(), String::new()],
            Some(first) => ["_f16".to_owned(), format!("from{first}")],
        };
        let name = format!(
            "matmul_coop{size}.{}{beside}.{tile_rows}x{tile_tokens}by{}{from}.{}",
            encoding.name(),
            subgroup_rows * subgroup_tokens,
            output.name()
        );
        let encodings = iter::once(encoding).chain(halves_from.map(|_| Encoding::F16));
        let values = context! {
            encodings => encodings.map(Encoding::template).collect::<Vec<_>>(), halves_from, max_jobs => MAX_JOBS, hidden_scale => HIDDEN_SCALE, input => "vec4<f16>", output => output.name(),
            integers => half_integers(encoding), size, subgroup, subgroup_rows, subgroup_tokens, rows, tokens, steps,
        };
        let subgroups = subgroup_rows * subgroup_tokens;
        let column_bytes = 8 * (8 * steps + 2);
        Ok(Kernel {
            variant: Variant {
                f16: true,
                coop: true,
                ..Variant::PLAIN
            },
            wgsl: render(&name, "matmul_coop.wgsl", values)?,
            bindings: BINDINGS,
            constants: vec![],
            workgroup_size: [subgroups * subgroup, 1, 1],
            workgroup_bytes: (tile_rows + tile_tokens) * column_bytes + subgroups * size * size * 4,
            name,
        })
    }

    /// The grid for `jobs` jobs, the largest of `rows` rows, and at most `tokens` tokens.
    pub fn workgroups(&self, jobs: u32, rows: u32, tokens: u32) -> [u32; 3] {
        let [tile_rows, tile_tokens] = self.tile.extent(self.size);
        [rows.div_ceil(tile_rows), tokens.div_ceil(tile_tokens), jobs]
    }
}

/// What `half_weights.wgsl` knows of the integers of an encoding: the bits that they have, what they are centred by, whether they have
/// a sign, whether minima belong to them, and whether both halves of a span lie in the same words and are taken from where they are.
fn half_integers(encoding: Encoding) -> Option<minijinja::Value> {
    let (mask, middle, has_sign, has_minima, in_place) = match encoding {
        Encoding::Q4_K => (15, 0, false, true, true),
        Encoding::Q5_K => (31, 0, false, true, false),
        Encoding::Q6_K => (63, 32, false, false, false),
        Encoding::Q8_0 => (255, 128, true, false, false),
        Encoding::F16 | Encoding::F32 => return None,
    };
    Some(context! { mask, middle, has_sign, has_minima, in_place })
}
