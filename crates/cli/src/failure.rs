//! How the program ends when it does not succeed: an exit code and one paragraph on standard error.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use crate::output;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for something that makes no sense.
    Usage(String),
    /// The model, the prompt or the logits are at fault.
    Model(String),
    /// The device or backend is at fault.
    Device(String),
    /// A path cannot be read or written.
    Path(String),
    /// The user pressed Ctrl-C and has seen what there was to see.
    Interrupted,
    /// Whoever read standard output has seen enough.
    BrokenPipe,
}

impl Failure {
    /// A file that cannot be read or written; `doing` is "read" or "write".
    pub(crate) fn path(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let next = match error.kind() {
            std::io::ErrorKind::NotFound => "check the spelling of the path",
            std::io::ErrorKind::PermissionDenied => "check who may access it",
            std::io::ErrorKind::IsADirectory => "name a file inside it instead",
            _ => "check that it is a file on a working disk with room on it",
        };
        Self::Path(format!(
            "cannot {doing} {}: {error}; {next}",
            path.display()
        ))
    }

    /// Says what went wrong and returns the exit code to end with.
    pub(crate) fn report(self) -> ExitCode {
        let (code, message) = match self {
            Self::Usage(message) => (2, message),
            Self::Model(message) => (3, message),
            Self::Device(message) => (4, message),
            Self::Path(message) => (5, message),
            Self::Interrupted => return ExitCode::from(130),
            Self::BrokenPipe => return ExitCode::SUCCESS,
        };
        output::note(format_args!("error: {message}"));
        ExitCode::from(code)
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = one_paragraph(&error.render().to_string());
        Self::Usage(text.strip_prefix("error: ").unwrap_or(&text).to_owned())
    }
}

impl From<thalweg_gguf::Error> for Failure {
    fn from(error: thalweg_gguf::Error) -> Self {
        if error.is_io() {
            Self::Path(with_sources(&error))
        } else {
            Self::Model(with_sources(&error))
        }
    }
}

impl From<thalweg_rwkv::Error> for Failure {
    fn from(error: thalweg_rwkv::Error) -> Self {
        match error {
            thalweg_rwkv::Error::Gguf(error) => error.into(),
            thalweg_rwkv::Error::Gpu(error) => error.into(),
            thalweg_rwkv::Error::Cancelled => Self::Interrupted,
            error @ (thalweg_rwkv::Error::Setting { .. } | thalweg_rwkv::Error::Kernel(_)) => {
                Self::Device(with_sources(&error))
            }
            error => Self::Model(with_sources(&error)),
        }
    }
}

impl From<thalweg_gpu::Error> for Failure {
    fn from(error: thalweg_gpu::Error) -> Self {
        Self::Device(error.to_string())
    }
}

impl From<thalweg_tokenizer::Error> for Failure {
    fn from(error: thalweg_tokenizer::Error) -> Self {
        match error {
            thalweg_tokenizer::Error::Metadata(error) => error.into(),
            error => Self::Model(with_sources(&error)),
        }
    }
}

impl From<thalweg_engine::Error> for Failure {
    fn from(error: thalweg_engine::Error) -> Self {
        use thalweg_engine::Error;
        match error {
            Error::Setting { .. } => Self::Usage(format!("--{error}")),
            Error::Interrupted { .. } => Self::Interrupted,
            error @ Error::Io { .. } => Self::Path(error.to_string()),
            // Who runs the program cannot submit requests again.
            Error::Step(error) => Self::Device(with_sources(&*error)),
            error @ Error::Stopped { .. } => Self::Device(with_sources(&error)),
            Error::Model(error) => error.into(),
            Error::Tokenizer(error) => error.into(),
            _ => Self::Model(with_sources(&error)),
        }
    }
}

impl From<thalweg_bench::Error> for Failure {
    fn from(error: thalweg_bench::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// The error and what lies behind it, where its own text does not say so already.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Joins clap's paragraphs into one; each but the last line is closed by a semicolon unless it is closed already.
fn one_paragraph(text: &str) -> String {
    let mut paragraph = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !paragraph.is_empty() {
            paragraph.push_str(if paragraph.ends_with([':', '.', ',', ';']) {
                " "
            } else {
                "; "
            });
        }
        paragraph.push_str(line);
    }
    paragraph
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lines_become_one_paragraph() {
        let text = "missing:\n  --flag\n\n  tip: give it\n\nFor more, try '--help'.\n";
        assert_eq!(
            one_paragraph(text),
            "missing: --flag; tip: give it; For more, try '--help'."
        );
    }
}
