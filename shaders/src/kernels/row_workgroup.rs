//! The workgroup that shares a row and adds up over it: `workgroup_sums.wgsl`.

use minijinja::{Value, context};

use super::{Number, Variant};

/// A workgroup that shares a row, and how it adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowWorkgroup {
    /// Its invocations: a multiple of 32.
    pub invocations: u32,
    /// Whether it adds up by subgroup operations. Subgroups have at least [`RowWorkgroup::LEAST_SUBGROUP`] invocations then.
    pub subgroup: bool,
}

impl RowWorkgroup {
    /// The fewest invocations of a subgroup that it is worth adding up in.
    pub const LEAST_SUBGROUP: u32 = 8;
    /// The fewest invocations, and what they are a multiple of: the sizes of large subgroups.
    const LEAST: u32 = 64;
    const STEP: u32 = 32;

    /// The workgroup for a row of so many pieces on a device that has workgroups of at most `most` invocations, 64 or more. No
    /// invocation takes more pieces than it must, and no more invocations take as many.
    pub fn sharing(pieces: u32, most: u32, subgroup: bool) -> RowWorkgroup {
        let most = (most / Self::STEP * Self::STEP).max(Self::LEAST);
        let pieces_each = pieces.div_ceil(most).max(1);
        let invocations = pieces.div_ceil(pieces_each);
        RowWorkgroup {
            invocations: invocations.next_multiple_of(Self::STEP).max(Self::LEAST),
            subgroup,
        }
    }

    /// The part of a kernel's name that says how it adds up.
    pub(super) fn level(self) -> &'static str {
        match self.subgroup {
            true => "subgroup",
            false => "plain",
        }
    }

    /// What the templates know of it.
    pub(super) fn values(self) -> Value {
        context! {
            workgroup => self.invocations,
            subgroup => self.subgroup,
            least_subgroup => Self::LEAST_SUBGROUP,
        }
    }

    /// What a kernel asks of the device that stores such numbers.
    pub(super) fn variant(self, output: Number) -> Variant {
        Variant {
            subgroup: self.subgroup,
            ..output.variant()
        }
    }

    /// Bytes of workgroup memory that it takes to add up so many numbers at once.
    pub(super) fn bytes(self, numbers: u32) -> u32 {
        let partial = match self.subgroup {
            true => 2 * (self.invocations / Self::LEAST_SUBGROUP),
            false => self.invocations,
        };
        4 * numbers * partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workgroup_is_as_wide_as_its_row_or_goes_over_it_in_equal_steps() {
        let invocations = |pieces, most| RowWorkgroup::sharing(pieces, most, false).invocations;
        assert_eq!(invocations(640, 1024), 640);
        assert_eq!(invocations(1000, 1024), 1024);
        assert_eq!(invocations(1280, 1024), 640); // twice
        assert_eq!(invocations(640, 256), 224); // three times
        assert_eq!(invocations(65, 256), 96);
        assert_eq!(invocations(1, 256), 64);
        assert_eq!(invocations(0, 256), 64);
        assert_eq!(invocations(4096, 1023), 832); // five times: no more than 992 at once
    }
}
