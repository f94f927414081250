//! The demo model, run when no other is named.

use thalweg_gguf::GgufFile;

use crate::failure::Failure;

/// The demo model inside the program.
#[cfg(feature = "embed-demo")]
pub(crate) fn open() -> Result<GgufFile, Failure> {
    static BYTES: &[u8] = include_bytes!("../../../assets/thalweg-demo-29m-q4_k_m.gguf");
    Ok(GgufFile::from_static(BYTES)?)
}

/// The demo model from an assets folder: that of the directory the program is run in or of one above it, of the
/// directory the program lies in or of one above it, or of the checkout it was built from.
#[cfg(not(feature = "embed-demo"))]
pub(crate) fn open() -> Result<GgufFile, Failure> {
    use std::path::PathBuf;

    const FILE: &str = "assets/thalweg-demo-29m-q4_k_m.gguf";
    let starts = [
        std::env::current_dir().ok(),
        std::env::current_exe().ok(),
        Some(env!("CARGO_MANIFEST_DIR").into()),
    ];
    let found = starts
        .iter()
        .flatten()
        .flat_map(|start: &PathBuf| start.ancestors())
        .map(|directory| directory.join(FILE))
        .find(|path| path.is_file());
    match found {
        Some(path) => Ok(GgufFile::open(&path)?),
        None => Err(Failure::Path(format!(
            "no model: -m was not given, and the demo model {FILE} was not found in this directory, beside the \
             program, or above either; name a model with -m FILE, or run inside a checkout of Thalweg"
        ))),
    }
}
