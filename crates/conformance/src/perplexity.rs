//! The demo model's perplexity on the beginning of its held-out text: a device against the CPU twins.

use crate::difference::within;
use crate::{Backend, Outcome, message};
use std::path::Path;
use thalweg_engine::{ChunkSize, WINDOW, perplexity};
use thalweg_gguf::GgufFile;
use thalweg_tokenizer::Tokenizer;

const MODEL: &str = "thalweg-demo-29m-q4_k_m.gguf";
const TEXT: &str = "validation.txt";

/// Enough for a difference to show, few enough for a software driver.
const WINDOWS: usize = 4;
/// Five digits.
const RELATIVE_TOLERANCE: f64 = 1e-5;

/// Measures the model in `dir` on `backend` and on the twins.
pub fn check_perplexity(dir: &Path, backend: &Backend) -> Outcome {
    Outcome::new("perplexity of the demo model", check(dir, backend))
}

fn check(dir: &Path, backend: &Backend) -> Result<String, String> {
    let found = measure(dir, backend)?;
    let expected = measure(dir, &Backend::Cpu)?;
    let what = format!("{found:.4} over {WINDOWS} windows, relatively");
    within(
        &what,
        (found - expected).abs() / expected,
        RELATIVE_TOLERANCE,
    )
}

/// The perplexity over the first windows of the text.
fn measure(dir: &Path, backend: &Backend) -> Result<f64, String> {
    let path = dir.join(TEXT);
    let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = GgufFile::open(&dir.join(MODEL)).map_err(message)?;
    let tokenizer = Tokenizer::from_gguf(file.metadata()).map_err(message)?;
    let begin_of_text = tokenizer.bos_id().filter(|_| tokenizer.add_bos());
    let mut tokens: Vec<u32> = begin_of_text.into_iter().collect();
    tokens.extend(tokenizer.encode(&text).map_err(message)?);
    tokens.truncate(WINDOWS * WINDOW);

    let mut runner = backend.open(file).map_err(message)?;
    let session = runner.session();
    let chunk_size = ChunkSize::default();
    let figures = perplexity(session, &tokens, begin_of_text, chunk_size, &mut |_| ());
    Ok(figures.map_err(message)?.perplexity)
}
