//! Everything that a directory has goldens for.

use crate::{
    Backend, Golden, Outcome, Vectors, check_blocks, check_perplexity, check_session, check_taps,
    check_vectors, check_world, message,
};
use std::path::{Path, PathBuf};
use thalweg_gguf::GgufFile;

const BLOCKS: &str = "quant-blocks.json";
const WORLD: &str = "world-tokenizer.json";
const WORLD_VOCABULARY: &str = "world-vocab.gguf";

/// Goldens without which the comparison would prove too little. Any others that are there are run as well.
const NEEDED: [&str; 6] = [
    "synth-tiny-q4_k_m.json",
    "synth-tiny-q4_k_m.short.safetensors",
    "tiny-rwkv7-f16.json",
    "tiny-rwkv7-f32.json",
    "tiny-rwkv7-f32.short.safetensors",
    "tiny-rwkv7-q4_k_m.json",
];

/// Runs all comparisons whose goldens lie in `dir/golden`, with the models in `dir/models` on `backend`, and for a
/// device the perplexity of the model in `dir/demo-model`; hands each outcome to `report` as soon as it is known. A file
/// that is missing is a failed outcome.
pub fn check_directory(dir: &Path, backend: &Backend, report: &mut dyn FnMut(Outcome)) {
    let (goldens, models) = (dir.join("golden"), dir.join("models"));
    check_blocks(&goldens.join(BLOCKS))
        .into_iter()
        .for_each(&mut *report);
    report(check_world(
        &goldens.join(WORLD),
        &models.join(WORLD_VOCABULARY),
    ));
    for path in NEEDED.map(|name| goldens.join(name)) {
        if !path.exists() {
            report(Outcome::new(
                "golden",
                Err(format!("{} is missing", path.display())),
            ));
        }
    }
    match model_goldens(&goldens) {
        Ok(paths) => paths
            .iter()
            .for_each(|path| check_model(path, &models, backend, report)),
        Err(fault) => report(Outcome::new("model goldens", Err(fault))),
    }
    if matches!(backend, Backend::Gpu(..)) {
        report(check_perplexity(&dir.join("demo-model"), backend));
    }
}

/// The golden files of models: all JSON files but the two of other things.
fn model_goldens(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let located = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut paths = Vec::new();
    for entry in dir.read_dir().map_err(located)? {
        let path = entry.map_err(located)?.path();
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        if is_json && !path.ends_with(BLOCKS) && !path.ends_with(WORLD) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Puts a backend through one golden file and, where there is one, the safetensors file beside it.
pub fn check_model(
    golden: &Path,
    models: &Path,
    backend: &Backend,
    report: &mut dyn FnMut(Outcome),
) {
    let subject = golden
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if let Err(fault) = try_check_model(&subject, golden, models, backend, report) {
        report(Outcome::new(subject, Err(fault)));
    }
}

fn try_check_model(
    subject: &str,
    golden_path: &Path,
    models: &Path,
    backend: &Backend,
    report: &mut dyn FnMut(Outcome),
) -> Result<(), String> {
    let golden = Golden::read(golden_path)?;
    let file = GgufFile::open(&models.join(&golden.model)).map_err(message)?;
    let mut runner = backend.open(file).map_err(message)?;
    check_session(subject, &golden, runner.session())
        .into_iter()
        .for_each(&mut *report);

    let vectors = golden_path.with_extension("short.safetensors");
    if vectors.exists() {
        let vectors = Vectors::read(&vectors)?;
        report(check_vectors(subject, &golden, &vectors, runner.session()));
        report(check_taps(subject, &golden, &vectors, &mut runner));
    }
    Ok(())
}
