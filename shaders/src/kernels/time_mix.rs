//! `removal_key.wgsl`, `wkv7.wgsl` and `readout.wgsl`: what happens head by head between the products.

mod head_step;
mod wkv7_chunked;
mod wkv7_replay;

use bytemuck::{Pod, Zeroable};
use minijinja::context;

use super::template::render;
use super::{Binding, Kernel, Number, Variant};
use crate::Error;

pub use head_step::HeadStep;
pub use wkv7_chunked::{Wkv7Apply, Wkv7Prepare};
pub use wkv7_replay::Wkv7Replay;

/// Channels of a head: the kernels are written for it.
pub const HEAD_SIZE: u32 = 64;

/// What is computed for every channel before the recurrence; the buffer `mixed` is `[slots, tokens, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Slot {
    /// r
    Receptance,
    /// k; [`RemovalKey`] scales it in place.
    Key,
    /// v, blended towards the first layer's.
    Value,
    /// v of the first layer.
    FirstValue,
    /// w
    Decay,
    /// a
    Iclr,
    /// g
    Gate,
    /// kk
    RemovalKey,
}

impl Slot {
    /// Number of slots.
    pub const COUNT: u32 = 8;
    /// Their names in WGSL, in order.
    pub(super) const NAMES: [&str; Self::COUNT as usize] = [
        "RECEPTANCE",
        "KEY",
        "VALUE",
        "FIRST_VALUE",
        "DECAY",
        "ICLR",
        "GATE",
        "REMOVAL_KEY",
    ];
}

/// Parameters of the kernels of this file.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct TimeMixParams {
    /// vec4s from slot to slot.
    pub slot_stride: u32,
    /// vec4s of a row.
    pub width: u32,
    /// The [`Slot`] of the value: in the first layer [`Slot::FirstValue`].
    pub value_slot: u32,
    /// First vec4 of k_k in vectors; the following likewise.
    pub k_k: u32,
    /// k_a
    pub k_a: u32,
    /// r_k
    pub r_k: u32,
    /// The group norm's weight.
    pub norm_weight: u32,
    /// The group norm's bias.
    pub norm_bias: u32,
}

/// Makes the removal key and scales the key. Bindings: rows, params, vectors, mixed.
#[derive(Debug, Clone, Copy)]
pub struct RemovalKey;

/// The recurrence. Bindings: sequences (each a [`Sequence`](super::Sequence)), params, mixed, state
/// `[slots, heads, 64, 64]`, y `[tokens, width]`.
#[derive(Debug, Clone, Copy)]
pub struct Wkv7 {
    /// Whether invocations share rows of the state and add up in their subgroup, which must have at least
    /// [`Wkv7::LANES`] of them; else an invocation has a row to itself.
    pub subgroup: bool,
}

/// Group norm, bonus and gate. Bindings: rows, params, vectors, mixed, y `[tokens, width]`, out `[tokens, width]`.
#[derive(Debug, Clone, Copy)]
pub struct Readout {
    /// What the results are stored as.
    pub output: Number,
}

impl RemovalKey {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        let bindings = &[
            Binding::Read,
            Binding::Uniform,
            Binding::Read,
            Binding::ReadWrite,
        ];
        kernel(
            "removal_key".to_owned(),
            "removal_key.wgsl",
            context! { slots => Slot::NAMES },
            bindings,
            64,
            64 * 8,
        )
    }

    /// The grid for rows of `width` channels and at most `tokens` tokens.
    pub fn workgroups(&self, width: u32, tokens: u32) -> [u32; 3] {
        [width.div_ceil(256), tokens, 1]
    }
}

impl Readout {
    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let bindings = &[Read, Uniform, Read, Read, Read, ReadWrite];
        let output = self.output;
        Ok(Kernel {
            variant: output.variant(),
            ..kernel(
                format!("readout.{}", output.name()),
                "readout.wgsl",
                context! { slots => Slot::NAMES, output => output.name() },
                bindings,
                64,
                64 * 8,
            )?
        })
    }

    /// The grid for rows of `width` channels and at most `tokens` tokens.
    pub fn workgroups(&self, width: u32, tokens: u32) -> [u32; 3] {
        [width.div_ceil(256), tokens, 1]
    }
}

impl Wkv7 {
    /// Invocations that share rows.
    pub const LANES: u32 = 8;
    const ROWS_PER_GROUP: u32 = 2;
    const GROUPS: u32 = 8;
    const PLAIN_ROWS: u32 = 32;
    const PLAIN_TILE: u32 = 8;

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let bindings = &[Read, Uniform, Read, ReadWrite, ReadWrite];
        if self.subgroup {
            let (lanes, rows, groups) = (Self::LANES, Self::ROWS_PER_GROUP, Self::GROUPS);
            let values =
                context! { slots => Slot::NAMES, lanes, rows, groups, parts => 16 / lanes };
            let staged_bytes = 5 * lanes * HEAD_SIZE * 4 + lanes * groups * rows * 4;
            return Ok(Kernel {
                variant: Variant {
                    subgroup: true,
                    ..Variant::PLAIN
                },
                ..kernel(
                    "wkv7.subgroup".to_owned(),
                    "wkv7_subgroup.wgsl",
                    values,
                    bindings,
                    lanes * groups,
                    staged_bytes,
                )?
            });
        }
        let (rows, tile) = (Self::PLAIN_ROWS, Self::PLAIN_TILE);
        kernel(
            "wkv7".to_owned(),
            "wkv7.wgsl",
            context! { slots => Slot::NAMES, rows, tile },
            bindings,
            rows,
            5 * tile * HEAD_SIZE * 4 + tile * rows * 4,
        )
    }

    /// The grid for `heads` heads and at most `sequences` sequences.
    pub fn workgroups(&self, heads: u32, sequences: u32) -> [u32; 3] {
        let rows = match self.subgroup {
            true => Self::GROUPS * Self::ROWS_PER_GROUP,
            false => Self::PLAIN_ROWS,
        };
        [heads, HEAD_SIZE / rows, sequences]
    }
}

fn kernel(
    name: String,
    template: &str,
    values: minijinja::Value,
    bindings: &'static [Binding],
    workgroup: u32,
    workgroup_bytes: u32,
) -> Result<Kernel, Error> {
    Ok(Kernel {
        wgsl: render(&name, template, values)?,
        name,
        variant: Variant::PLAIN,
        bindings,
        constants: vec![],
        workgroup_size: [workgroup, 1, 1],
        workgroup_bytes,
    })
}
