//! `time_mix_step.wgsl`: time mixing of one token between its first products and its last one.

use bytemuck::{Pod, Zeroable};
use minijinja::{Value, context};

use super::template::render;
use super::time_mix::Slot;
use super::{Binding, Kernel, Variant};
use crate::{Encoding, Error};

/// What happens to one token head by head, in one dispatch. Bindings: params, vectors, weights, mixed (`[slots, width]`,
/// and the hidden vectors wherever the params say), state `[heads, 64, 64]`, out `[width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeMixStep {
    /// How the second halves of the low-rank pairs are encoded: decay, in-context learning rate, value residual, gate.
    pub encodings: [Encoding; 4],
    /// Spans of a row of each of them; 0 leaves the pair out.
    pub spans: [u32; 4],
    /// Whether this is layer 0: its values are the first values, which it blends towards nothing.
    pub first_layer: bool,
    /// Whether sums over the invocations of a channel are made by subgroup operations.
    pub subgroup: bool,
    /// Whether the output is stored rounded, as the kernel after this one wants it that has a
    /// [rounded input](super::FusedInput::Rounded).
    pub rounds_output: bool,
}

/// The second half of a low-rank pair.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct LowRankParams {
    /// First vec4 of the matrix in the weights.
    pub weights: u32,
    /// vec4s of an encoded row.
    pub stride: u32,
    /// First vec4 of the hidden vector in mixed.
    pub hidden: u32,
    /// Elements of uniform arrays are whole vec4s.
    pub padding: u32,
}

/// Parameters of [`TimeMixStep`]. Those without a unit are first elements in vectors.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct TimeMixStepParams {
    /// Decay, in-context learning rate, value residual, gate.
    pub pairs: [LowRankParams; 4],
    /// vec4s from slot to slot of mixed.
    pub slot_stride: u32,
    /// The decay's bias.
    pub decay_bias: u32,
    /// The in-context learning rate's bias.
    pub iclr_bias: u32,
    /// The value residual's bias.
    pub value_bias: u32,
    /// k_k
    pub k_k: u32,
    /// k_a
    pub k_a: u32,
    /// r_k
    pub r_k: u32,
    /// The group norm's weight.
    pub norm_weight: u32,
    /// The group norm's bias.
    pub norm_bias: u32,
    /// Uniform structs are whole vec4s.
    pub padding: [u32; 3],
}

/// What the channels of a head tell each other.
const EXCHANGED: [&str; 7] = [
    "receptance",
    "decay",
    "key",
    "removal",
    "replacement",
    "bonus",
    "readout",
];

impl TimeMixStep {
    /// Invocations that share a channel.
    pub const LANES: u32 = 8;
    /// The same in the plain variant, whose workgroups have no more than 256.
    const PLAIN_LANES: u32 = 4;

    fn lanes(&self) -> u32 {
        match self.subgroup {
            true => Self::LANES,
            false => Self::PLAIN_LANES,
        }
    }

    /// Bytes of workgroup memory that it takes.
    pub fn workgroup_bytes(&self) -> u32 {
        let lane_parts = if self.subgroup {
            0
        } else {
            2 * 64 * self.lanes() * 16
        };
        let hidden = self.spans.iter().sum::<u32>() * 9 * 16;
        EXCHANGED.len() as u32 * 64 * 4 + hidden + lane_parts
    }

    /// The kernel.
    ///
    /// # Errors
    /// The template has a defect.
    pub fn kernel(&self) -> Result<Kernel, Error> {
        use Binding::{Read, ReadWrite, Uniform};
        let TimeMixStep {
            encodings,
            spans,
            first_layer,
            subgroup,
            rounds_output,
        } = *self;
        let lanes = self.lanes();
        let (pairs, groups) = self.pairs_and_groups();
        let all_spans: u32 = spans.iter().sum();
        let layer = if first_layer { "first" } else { "other" };
        let level = if subgroup { "subgroup" } else { "plain" };
        let names = [0, 1, 2, 3].map(|pair| format!("{}x{}", encodings[pair].name(), spans[pair]));
        let names = names.join("_");
        let stored = if rounds_output { ".to_int8" } else { "" };
        let name = format!("time_mix_step.{names}.{layer}{stored}.{level}");
        let templates: Vec<String> = self
            .distinct_encodings()
            .iter()
            .map(|encoding| encoding.template())
            .collect();
        let values = context! {
            slots => Slot::NAMES, exchanged => EXCHANGED, encodings => templates, pairs, groups, all_spans,
            lanes, parts => 16 / lanes, first_layer, subgroup, rounds_output,
        };
        Ok(Kernel {
            variant: Variant {
                subgroup,
                dot4: rounds_output,
                ..Variant::PLAIN
            },
            wgsl: render(&name, "time_mix_step.wgsl", values)?,
            bindings: &[Uniform, Read, Read, Read, ReadWrite, ReadWrite],
            constants: vec![],
            workgroup_size: [64 * lanes, 1, 1],
            workgroup_bytes: self.workgroup_bytes(),
            name,
        })
    }

    /// The encodings of the pairs that there are, each once.
    fn distinct_encodings(&self) -> Vec<Encoding> {
        let mut distinct = Vec::new();
        for (encoding, spans) in self.encodings.iter().zip(self.spans) {
            if spans > 0 && !distinct.contains(encoding) {
                distinct.push(*encoding);
            }
        }
        distinct
    }

    /// What the template has to know of the pairs, and of those that share an encoding, whose spans are dealt out
    /// together.
    fn pairs_and_groups(&self) -> (Vec<Value>, Vec<Value>) {
        let lanes = self.lanes();
        let first_span = |pair: usize| self.spans[..pair].iter().sum::<u32>();
        let present = || (0..4).filter(|pair| self.spans[*pair] > 0);
        let pairs = present().map(|index| context! { index, first_span => first_span(index) });
        let distinct = self.distinct_encodings();
        let groups = distinct.iter().enumerate().map(|(number, encoding)| {
            let mut spans = 0;
            let mut members = Vec::new();
            for index in present().filter(|pair| self.encodings[*pair] == *encoding) {
                let mask = std::array::from_fn::<_, 4, _>(|pair| f64::from(u8::from(pair == index)));
                members.push(context! {
                    index, start => spans, spans => self.spans[index], first_span => first_span(index),
                    mask => mask.map(|share| format!("{share:.1}")).join(", "),
                });
                spans += self.spans[index];
            }
            context! { encoding => number, pairs => members, spans, rounds => spans.div_ceil(lanes) }
        });
        (pairs.collect(), groups.collect())
    }

    /// The grid for `heads` heads.
    pub fn workgroups(&self, heads: u32) -> [u32; 3] {
        [heads, 1, 1]
    }
}
