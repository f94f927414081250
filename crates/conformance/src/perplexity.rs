//! The demo model's perplexity on its held-out text.

use crate::difference::within;
use crate::{Backend, Outcome, message};
use std::path::Path;
use thalweg_engine::{ChunkSize, WINDOW, perplexity};
use thalweg_gguf::GgufFile;
use thalweg_tokenizer::Tokenizer;

const MODEL: &str = "thalweg-demo-29m-q4_k_m.gguf";
const TEXT: &str = "validation.txt";

/// Over all windows, with 32-bit activations.
const EXPECTED: f64 = 23.862;
const TOLERANCE: f64 = 0.01;

/// Windows that a device is compared with the twins on: enough for a difference to show, few enough for a software driver.
const WINDOWS: usize = 4;
/// Five digits.
const RELATIVE_TOLERANCE: f64 = 1e-5;

/// The twins against the known figure for the whole text in `dir`; any other backend against the twins on its beginning.
pub fn check_perplexity(dir: &Path, backend: &Backend) -> Outcome {
    Outcome::new("perplexity of the demo model", check(dir, backend))
}

fn check(dir: &Path, backend: &Backend) -> Result<String, String> {
    match backend {
        Backend::Cpu => {
            let found = measure(dir, backend, usize::MAX)?;
            within(&format!("{found:.3},"), (found - EXPECTED).abs(), TOLERANCE)
        }
        Backend::Gpu(..) => {
            let found = measure(dir, backend, WINDOWS)?;
            let expected = measure(dir, &Backend::Cpu, WINDOWS)?;
            let difference = (found - expected).abs() / expected;
            within(
                &format!("{found:.4} over {WINDOWS} windows, relatively"),
                difference,
                RELATIVE_TOLERANCE,
            )
        }
    }
}

/// The perplexity over the first `windows` windows of the text.
fn measure(dir: &Path, backend: &Backend, windows: usize) -> Result<f64, String> {
    let path = dir.join(TEXT);
    let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = GgufFile::open(&dir.join(MODEL)).map_err(message)?;
    let tokenizer = Tokenizer::from_gguf(file.metadata()).map_err(message)?;
    let begin_of_text = tokenizer.bos_id().filter(|_| tokenizer.add_bos());
    let mut tokens: Vec<u32> = begin_of_text.into_iter().collect();
    tokens.extend(tokenizer.encode(&text).map_err(message)?);
    tokens.truncate(windows.saturating_mul(WINDOW));

    let mut runner = backend.open(file).map_err(message)?;
    let session = runner.session();
    let chunk_size = ChunkSize::default();
    let figures = perplexity(session, &tokens, begin_of_text, chunk_size, &mut |_| ());
    Ok(figures.map_err(message)?.perplexity)
}
