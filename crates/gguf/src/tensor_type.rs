//! The ggml tensor types: number in the file, name, block geometry, and whether this crate decodes
//! them.

use std::fmt;

/// How a tensor's numbers are stored. Names are ggml's.
#[allow(
    non_camel_case_types,
    reason = "the names by which the types are known everywhere else"
)]
#[allow(
    missing_docs,
    reason = "a type's name says all there is to say; `blocks` documents the layouts"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum TensorType {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q8_1 = 9,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    Q8_K = 15,
    IQ2_XXS = 16,
    IQ2_XS = 17,
    IQ3_XXS = 18,
    IQ1_S = 19,
    IQ4_NL = 20,
    IQ3_S = 21,
    IQ2_S = 22,
    IQ4_XS = 23,
    I8 = 24,
    I16 = 25,
    I32 = 26,
    I64 = 27,
    F64 = 28,
    IQ1_M = 29,
    BF16 = 30,
    TQ1_0 = 34,
    TQ2_0 = 35,
    MXFP4 = 39,
    NVFP4 = 40,
    Q1_0 = 41,
}

/// One row of the table: type, name, elements a block, bytes a block.
type Row = (TensorType, &'static str, usize, usize);

/// Every type that a current GGUF file may hold.
const TABLE: [Row; 34] = {
    use TensorType::*;
    [
        (F32, "F32", 1, 4),
        (F16, "F16", 1, 2),
        (Q4_0, "Q4_0", 32, 18),
        (Q4_1, "Q4_1", 32, 20),
        (Q5_0, "Q5_0", 32, 22),
        (Q5_1, "Q5_1", 32, 24),
        (Q8_0, "Q8_0", 32, 34),
        (Q8_1, "Q8_1", 32, 36),
        (Q2_K, "Q2_K", 256, 84),
        (Q3_K, "Q3_K", 256, 110),
        (Q4_K, "Q4_K", 256, 144),
        (Q5_K, "Q5_K", 256, 176),
        (Q6_K, "Q6_K", 256, 210),
        (Q8_K, "Q8_K", 256, 292),
        (IQ2_XXS, "IQ2_XXS", 256, 66),
        (IQ2_XS, "IQ2_XS", 256, 74),
        (IQ3_XXS, "IQ3_XXS", 256, 98),
        (IQ1_S, "IQ1_S", 256, 50),
        (IQ4_NL, "IQ4_NL", 32, 18),
        (IQ3_S, "IQ3_S", 256, 110),
        (IQ2_S, "IQ2_S", 256, 82),
        (IQ4_XS, "IQ4_XS", 256, 136),
        (I8, "I8", 1, 1),
        (I16, "I16", 1, 2),
        (I32, "I32", 1, 4),
        (I64, "I64", 1, 8),
        (F64, "F64", 1, 8),
        (IQ1_M, "IQ1_M", 256, 56),
        (BF16, "BF16", 1, 2),
        (TQ1_0, "TQ1_0", 256, 54),
        (TQ2_0, "TQ2_0", 256, 66),
        (MXFP4, "MXFP4", 32, 17),
        (NVFP4, "NVFP4", 64, 36),
        (Q1_0, "Q1_0", 128, 18),
    ]
};

/// Where in the table each number's row stands.
const PLACES: [usize; 42] = {
    let mut places = [0; 42];
    let mut place = 0;
    while place < TABLE.len() {
        places[TABLE[place].0 as usize] = place;
        place += 1;
    }
    places
};

/// Types that ggml once had and took out again, with their numbers. Files that hold them must be
/// made anew.
const REMOVED: [(u32, &str); 8] = [
    (4, "Q4_2"),
    (5, "Q4_3"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
];

/// The types that [`crate::blocks::decode`] understands, as error messages list them.
pub(crate) const SUPPORTED: &str =
    "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K";

impl TensorType {
    /// All types, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = TensorType> {
        TABLE.iter().map(|row| row.0)
    }

    /// The type with ggml's number `number`, if there is one.
    pub fn from_number(number: u32) -> Option<TensorType> {
        TABLE
            .iter()
            .map(|row| row.0)
            .find(|ty| ty.number() == number)
    }

    /// The number that stands for this type in a file.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// ggml's name, such as `Q4_K`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Elements in one block; 1 for plain numbers. A row of a matrix is a whole number of blocks.
    pub fn block_len(self) -> usize {
        self.row().2
    }

    /// Bytes of one block in the file.
    pub fn block_bytes(self) -> usize {
        self.row().3
    }

    /// Whether [`crate::blocks::decode`] can turn this type into `f32`.
    pub fn is_supported(self) -> bool {
        use TensorType::*;
        matches!(
            self,
            F32 | F16 | BF16 | Q8_0 | Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q2_K | Q3_K | Q4_K | Q5_K | Q6_K
        )
    }

    /// Bytes that `elements` numbers occupy: `None` if they are no whole number of blocks or the
    /// product overflows.
    pub fn bytes_for(self, elements: u64) -> Option<u64> {
        let block_len = self.block_len() as u64;
        if !elements.is_multiple_of(block_len) {
            return None;
        }
        (elements / block_len).checked_mul(self.block_bytes() as u64)
    }

    fn row(self) -> &'static Row {
        &TABLE[PLACES[self as usize]]
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a type that ggml has removed, by its number.
pub(crate) fn removed_name(number: u32) -> Option<&'static str> {
    REMOVED.iter().find(|row| row.0 == number).map(|row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_rows_stand_for_themselves() {
        for ty in TensorType::all() {
            assert_eq!(TensorType::from_number(ty.number()), Some(ty));
            assert_eq!(format!("{ty:?}"), ty.name());
            assert!(removed_name(ty.number()).is_none());
        }
    }

    #[test]
    fn supported_list_names_exactly_the_supported_types() {
        for ty in TensorType::all() {
            assert_eq!(
                SUPPORTED.split(", ").any(|name| name == ty.name()),
                ty.is_supported(),
                "{ty}"
            );
        }
    }

    #[test]
    fn bytes_need_whole_blocks_and_no_overflow() {
        assert_eq!(TensorType::Q4_K.bytes_for(512), Some(288));
        assert_eq!(TensorType::Q4_K.bytes_for(500), None);
        assert_eq!(TensorType::F32.bytes_for(u64::MAX / 2), None);
    }
}
