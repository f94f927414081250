//! Block decoding against single blocks and their values.

use crate::{Outcome, hex, message};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use thalweg_gguf::{TensorType, blocks};

#[derive(Deserialize)]
struct Blocks {
    types: BTreeMap<String, TypeBlocks>,
}

#[derive(Deserialize)]
struct TypeBlocks {
    ggml_type: u32,
    blocks: Vec<Block>,
}

#[derive(Deserialize)]
struct Block {
    kind: String,
    hex: String,
    values: Vec<f32>,
}

/// Compares the decoding of every type in a file of golden blocks, one outcome each. It must be exact.
pub fn check_blocks(path: &Path) -> Vec<Outcome> {
    match crate::golden::read_json::<Blocks>(path) {
        Err(fault) => vec![Outcome::new("block decoding", Err(fault))],
        Ok(golden) => {
            let outcome = |(name, ty): (&String, &TypeBlocks)| {
                Outcome::new(format!("decoding {name}"), check_type(ty))
            };
            golden.types.iter().map(outcome).collect()
        }
    }
}

fn check_type(golden: &TypeBlocks) -> Result<String, String> {
    let number = golden.ggml_type;
    let ty =
        TensorType::from_number(number).ok_or_else(|| format!("ggml type {number} is unknown"))?;
    for block in &golden.blocks {
        let bytes = hex::bytes(&block.hex).ok_or("the golden's hexadecimal digits are damaged")?;
        let mut found = vec![f32::NAN; block.values.len()];
        blocks::decode(ty, &bytes, &mut found).map_err(message)?;
        if let Some(at) = found
            .iter()
            .zip(&block.values)
            .position(|(found, expected)| found != expected)
        {
            let (found, expected) = (found[at], block.values[at]);
            return Err(format!(
                "element {at} of block '{}' is {found}, expected {expected}",
                block.kind
            ));
        }
    }
    Ok(format!("{} blocks exact", golden.blocks.len()))
}
