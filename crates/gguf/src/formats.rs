//! Telling GGUF from what else people download: magic and version, with advice for each known
//! stranger.

use crate::{Error, Fault, cursor::Cursor};

const OLD_GGML: &str = "convert the original model to GGUF with a current converter";
const NOT_CONVERTED: &str = "convert the model to GGUF first";
const NOT_DOWNLOADED: &str = "download the .gguf file itself";

/// How other files begin, what they are, and what to do with them. The ggml magics are stored as a
/// little-endian u32, so that they read backwards in a file; both directions are listed.
const STRANGERS: [(&[u8], &str, &str); 14] = [
    (b"lmgg", "the unversioned 'ggml' format of 2022", OLD_GGML),
    (
        b"ggml",
        "the unversioned 'ggml' format of 2022, byte-swapped",
        OLD_GGML,
    ),
    (b"fmgg", "the 'ggmf' format, an older ggml file", OLD_GGML),
    (
        b"ggmf",
        "the 'ggmf' format, an older ggml file, byte-swapped",
        OLD_GGML,
    ),
    (b"tjgg", "the 'ggjt' format, an older ggml file", OLD_GGML),
    (
        b"ggjt",
        "the 'ggjt' format, an older ggml file, byte-swapped",
        OLD_GGML,
    ),
    (b"algg", "the 'ggla' format, a ggml LoRA adapter", OLD_GGML),
    (
        b"ggla",
        "the 'ggla' format, a ggml LoRA adapter, byte-swapped",
        OLD_GGML,
    ),
    (
        b"PK\x03\x04",
        "a zip archive, as PyTorch checkpoints (.pth) are",
        NOT_CONVERTED,
    ),
    (
        b"version https://git-lfs",
        "a Git LFS pointer in place of the file",
        NOT_DOWNLOADED,
    ),
    (b"<", "an HTML or XML page", NOT_DOWNLOADED),
    (b"{", "a JSON text", NOT_DOWNLOADED),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first"),
];

/// Reads magic and version. Only 2 and 3, little endian, pass.
pub(crate) fn version(cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    if cursor.left() == 0 {
        return Err(cursor.fault_at(0, format_args!("start of the file"), Fault::Empty));
    }
    let start = cursor.rest();
    let magic = format_args!("magic");
    if start.starts_with(b"FUGG") {
        return Err(cursor.fault_at(0, magic, Fault::BigEndian));
    }
    if !start.starts_with(b"GGUF") && !b"GGUF".starts_with(start) {
        return Err(cursor.fault_at(0, magic, stranger(start)));
    }
    cursor.take(4, magic)?;

    let item = format_args!("version");
    let found = cursor.u32(item)?;
    match found {
        2 | 3 => Ok(found),
        1 => {
            let advice = "convert the original model with a current converter";
            Err(cursor.fault_at(4, item, Fault::Version { found, advice }))
        }
        _ if (1..=3).contains(&found.swap_bytes()) => {
            Err(cursor.fault_at(4, item, Fault::BigEndian))
        }
        _ => {
            let advice = "the file is damaged, or newer than this program: look for an update";
            Err(cursor.fault_at(4, item, Fault::Version { found, advice }))
        }
    }
}

fn stranger(start: &[u8]) -> Fault {
    let known = STRANGERS
        .iter()
        .find(|(opening, ..)| start.starts_with(opening));
    // A safetensors file begins with the length of its JSON header as a u64.
    let safetensors = start.get(8) == Some(&b'{');
    let (found, advice) = match known {
        Some((_, name, advice)) => ((*name).to_owned(), *advice),
        None if safetensors => ("a safetensors file".to_owned(), NOT_CONVERTED),
        None => {
            let shown = &start[..start.len().min(4)];
            (
                format!("\"{}\"", shown.escape_ascii()),
                "check that this is the .gguf file itself",
            )
        }
    };
    Fault::Magic { found, advice }
}
