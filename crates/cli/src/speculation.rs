//! `--speculate` and `--draft-model`: tokens guessed ahead, and what came of that.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use thalweg_engine::{Speculation, Timings, check_draft_vocabulary};
use thalweg_gguf::GgufFile;
use thalweg_tokenizer::Tokenizer;

use crate::failure::Failure;
use crate::model;

/// Where guesses come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Guessing ahead")]
pub(crate) struct SpeculationFlags {
    /// Where guesses at the next tokens come from, several of which are verified in one step where that is faster. The model
    /// chooses every token as it would without. But a GPU rounds otherwise when it reads several tokens at once, so where two
    /// are all but equally probable, one seed may give another text than with off [default: auto with --draft-model, else off]
    #[arg(long, value_enum, value_name = "SOURCE")]
    speculate: Option<Source>,

    /// GGUF file of a small model with the same vocabulary, to guess what the model will say; it runs on the same device, with
    /// the same precision
    #[arg(long, value_name = "FILE")]
    draft_model: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    /// By look-up, and from the draft model if there is one: whichever is right more often.
    Auto,
    /// Nothing is guessed.
    Off,
    /// By look-up: what followed when the text last went like this.
    Ngram,
    /// What the draft model says.
    Draft,
}

impl From<Source> for Speculation {
    fn from(source: Source) -> Self {
        match source {
            Source::Auto => Self::Auto,
            Source::Off => Self::Off,
            Source::Ngram => Self::Ngram,
            Source::Draft => Self::Draft,
        }
    }
}

/// What the flags come to.
#[derive(Default)]
pub(crate) struct Guessing {
    pub(crate) source: Speculation,
    pub(crate) draft: Option<DraftFile>,
}

/// A draft model's file, opened.
pub(crate) struct DraftFile {
    pub(crate) file: GgufFile,
    pub(crate) tokenizer: Tokenizer,
}

impl SpeculationFlags {
    /// Opens the draft model's file, if there is one, for a model with this tokenizer.
    ///
    /// # Errors
    /// [`Failure::Usage`] if a draft model is asked for and not named, or the other way round; those of the file; that of a
    /// vocabulary that is not the model's.
    pub(crate) fn open(&self, of_model: &Tokenizer) -> Result<Guessing, Failure> {
        let source = self.source()?;
        let draft = self.draft_model.as_deref().map(|path| {
            let file = model::open(Some(path))?;
            let tokenizer = Tokenizer::from_gguf(file.metadata())?;
            check_draft_vocabulary(of_model, &tokenizer)?;
            Ok::<_, Failure>(DraftFile { file, tokenizer })
        });
        Ok(Guessing {
            source,
            draft: draft.transpose()?,
        })
    }

    fn source(&self) -> Result<Speculation, Failure> {
        match (self.speculate, &self.draft_model) {
            (None, None) => Ok(Speculation::Off),
            (None, Some(_)) => Ok(Speculation::Auto),
            (Some(Source::Draft), None) => Err(Failure::Usage(
                "--speculate draft needs a draft model, but none is named; name its file with --draft-model".to_owned(),
            )),
            (Some(Source::Off | Source::Ngram), Some(path)) => Err(Failure::Usage(format!(
                "--draft-model {} names a model that --speculate off and --speculate ngram do not use; leave one of the two \
                 out, or expect guesses of it with --speculate auto or draft",
                path.display()
            ))),
            (Some(source), _) => Ok(source.into()),
        }
    }
}

/// What guesses came to, for summaries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct GuessReport {
    /// Tokens guessed.
    drafted: usize,
    /// Those of them that were right.
    accepted: usize,
    /// Tokens that a step with a guess brought.
    tokens_a_step: f64,
    /// How many times as fast as without guesses the text came; an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_up: Option<f64>,
}

impl GuessReport {
    /// Nothing if nothing was guessed.
    pub(crate) fn of(timings: &Timings) -> Option<Self> {
        let guesses = timings.guesses;
        let tokens_a_step = guesses.tokens_a_step()?;
        (guesses.drafted > 0).then(|| Self {
            drafted: guesses.drafted,
            accepted: guesses.accepted,
            tokens_a_step,
            speed_up: timings.guess_speed_up(),
        })
    }
}

impl fmt::Display for GuessReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            drafted,
            accepted,
            tokens_a_step,
            speed_up,
        } = self;
        let percent = 100.0 * *accepted as f64 / *drafted as f64;
        write!(
            f,
            "guessed {drafted} tokens, {accepted} right ({percent:.0} %), {tokens_a_step:.2} tokens a step"
        )?;
        match speed_up {
            Some(speed_up) => write!(f, ", about {speed_up:.2} times as fast"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use thalweg_engine::Guesses;

    use super::*;

    #[test]
    fn guesses_are_summed_up() {
        assert_eq!(GuessReport::of(&Timings::default()), None);
        let mut timings = Timings {
            decode_tokens: 16,
            decode: Duration::from_millis(360),
            guesses: Guesses {
                steps: 2,
                drafted: 8,
                accepted: 4,
                tokens: 6,
                elapsed: Duration::from_millis(60),
                without: Duration::from_millis(150),
            },
            ..Timings::default()
        };
        let text = |timings: &Timings| GuessReport::of(timings).unwrap().to_string();
        let guessed = "guessed 8 tokens, 4 right (50 %), 3.00 tokens a step";
        assert_eq!(
            text(&timings),
            format!("{guessed}, about 1.25 times as fast")
        );
        timings.decode = Duration::ZERO;
        assert_eq!(text(&timings), guessed);
    }
}
