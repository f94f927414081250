//! How far a job is, while it runs and at its end.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use thalweg_engine::Timings;

use crate::failure::Failure;
use crate::output;
use crate::speculation::GuessReport;

/// What became of lines, as far as it is written.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Tally {
    /// Lines with a reply.
    pub(super) replies: u64,
    /// Lines with an error.
    pub(super) failed: u64,
    /// Lines that had a reply from before.
    pub(super) skipped: u64,
    /// Tokens of the prompts that got a reply.
    pub(super) prompt_tokens: u64,
    /// Tokens of the replies.
    pub(super) tokens: u64,
    /// Of the replies, all together.
    #[serde(skip)]
    pub(super) timings: Timings,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.replies += other.replies;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.prompt_tokens += other.prompt_tokens;
        self.tokens += other.tokens;
        self.timings += other.timings;
    }
}

/// A bar on standard error. It is invisible unless that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    const PERIOD: Duration = Duration::from_millis(200);

    /// `length` is that of the input in bytes, if it is known: then there is a time left.
    pub(super) fn new(length: Option<u64>) -> Self {
        let (bar, template) = match length {
            Some(length) => (
                ProgressBar::new(length),
                "{bar:32} {percent}% {msg} ({eta} left)",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
        };
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Self::PERIOD);
        Self {
            bar,
            start: Instant::now(),
        }
    }

    /// Lines of so many bytes are done with.
    pub(super) fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Shows the tally; `tokens` counts those of replies that are not complete too.
    pub(super) fn show(&self, tally: &Tally, tokens: u64) {
        let failed = match tally.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let rate = tokens as f64 / self.seconds();
        self.bar.set_message(format!(
            "{} replies{failed}, {rate:.1} tok/s",
            tally.replies
        ));
    }

    /// Keeps the bar out of the way of what `action` writes, which may go to the same terminal.
    pub(super) fn hide_during<T>(&self, action: impl FnOnce() -> T) -> T {
        self.bar.suspend(action)
    }

    /// Seconds since the start, and never 0.
    pub(super) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64().max(1e-9)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// What a job came to.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    pub(super) tally: Tally,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) guesses: Option<GuessReport>,
    pub(super) seconds: f64,
    /// Lines without a seed of their own count up from here.
    pub(super) seed: u64,
    pub(super) device: String,
    /// Whether the job got to the end of the input.
    pub(super) complete: bool,
}

impl Summary {
    /// Shows it to people, or to programs as JSON: on standard output unless the replies are there.
    pub(super) fn show(&self, as_json: bool, prints_replies: bool) -> Result<(), Failure> {
        match (as_json, prints_replies) {
            (true, false) => output::line(json!(self)),
            (true, true) => {
                output::note(json!(self));
                Ok(())
            }
            (false, _) => {
                output::note(self.text());
                Ok(())
            }
        }
    }

    fn text(&self) -> String {
        let Tally {
            replies,
            failed,
            skipped,
            prompt_tokens,
            tokens,
            ..
        } = self.tally;
        let guesses = self
            .guesses
            .map_or(String::new(), |report| format!("{report} | "));
        let rate = tokens as f64 / self.seconds;
        format!(
            "{replies} replies, {failed} failed, {skipped} skipped | prompts {prompt_tokens} tokens | replies {tokens} tokens, \
             {rate:.1} tok/s | {guesses}{:.1} s | seed {} | {}",
            self.seconds, self.seed, self.device
        )
    }
}
