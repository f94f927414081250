//! Several tokens a step: what may come next is guessed, and read all at once.
//!
//! A guess costs less to verify than its tokens cost one by one, and changes nothing but the time: see
//! [`Batch::verify`](thalweg_rwkv::Batch::verify). Guesses are looked up in the text (`ngram.rs`, and
//! `alignment.rs` behind changes) or come from a small model
//! (`draft_model.rs`); how often they were right (`acceptance.rs`) and what steps take (`costs.rs`) says how many tokens are
//! worth guessing (`policy.rs`); `step.rs` is a step with guesses, which `rehearsal.rs` prepares.

mod acceptance;
mod alignment;
mod costs;
mod draft_model;
mod guessing;
mod ngram;
mod policy;
mod rehearsal;
#[cfg(test)]
mod simulation;
mod step;
mod vocabulary;

pub(crate) use draft_model::{DraftModel, Wish};
pub(crate) use guessing::{Guessing, Offer};
pub(crate) use policy::Policy;
pub(crate) use rehearsal::{Kind as GuessKind, Rehearsals};
pub use vocabulary::check_draft_vocabulary;

/// Where guesses at the next tokens come from.
///
/// Right or wrong, a guess changes no token: the model chooses each as it would without, with the same random numbers. (A
/// device computes several tokens in another order than one, so logits differ by rounding, as they do with other
/// neighbours. Where two tokens are all but equally probable, one seed may so give another text than without guesses, which
/// is why nothing is guessed unless it is asked for.) How many tokens are guessed follows from how
/// often guesses were right and from what steps take, and none are where that gains nothing: at most 1 % of the time is
/// lost on finding out. Once an engine makes steps with guesses to try, before the first token of the first request that wants
/// any: so a device has its kernels, and it is known what such steps take. That takes up to about a tenth of a second, and
/// longer where kernels have to be compiled.
///
/// ```
#[doc = include_str!("../doc_setup.txt")]
/// # use thalweg_engine::Speculation;
/// request.speculation = Speculation::Ngram;
/// let mut handle = engine.submit(request)?;
/// for token in engine.tokens(&mut handle) {
///     print!("{}", token?.text);
/// }
/// let guesses = handle.ending().map(|ending| ending.timings.guesses);
/// # assert_eq!(guesses.map(|guesses| guesses.accepted <= guesses.drafted), Some(true));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Speculation {
    /// By looking up, or from the [draft model](crate::Engine::with_draft_model) if there is one: whichever is right more often.
    Auto,
    /// Nothing is guessed: single steps, so one seed gives one text also where rounding differs.
    #[default]
    Off,
    /// What followed when the text last went like this. Costs nothing, and is right where a text repeats itself or its prompt.
    Ngram,
    /// What a draft model says, of which there must be one.
    Draft,
}
