//! What can go wrong between a checked file and its logits.

use crate::Place;
use crate::tensors::Problem;
use std::fmt;
use std::path::PathBuf;

/// Most tensors that one error message lists.
const LISTED: usize = 20;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file itself is unreadable, malformed, or lacks a metadata key.
    #[error(transparent)]
    Gguf(#[from] thalweg_gguf::Error),

    /// A model of another family.
    #[error(
        "{}: general.architecture: this file is '{found}', Thalweg runs rwkv7; get an RWKV-7 model converted to GGUF",
        path.display()
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The architecture it names.
        found: String,
    },

    /// A hyperparameter outside of what can be.
    #[error("{}: metadata key {key} is {found}, expected {expected}; convert the model again", path.display())]
    Hyperparameter {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: String,
        /// Its value.
        found: String,
        /// The values that are accepted.
        expected: String,
    },

    /// Tensors that are missing, misshapen, or of a type that cannot be decoded.
    #[error(
        "{}: {} the model needs cannot be used:{}\nconvert or download the model again",
        path.display(),
        if problems.len() == 1 { "a tensor that".to_owned() } else { format!("{} tensors that", problems.len()) },
        listing(problems)
    )]
    Tensors {
        /// The file.
        path: PathBuf,
        /// All of them, in the order of the forward pass; the message lists the first twenty.
        problems: Vec<Problem>,
    },

    /// A weight that is infinite or not a number.
    #[error(
        "{}: tensor {tensor} holds {value} at element {index}, expected finite weights; download or convert the model again",
        path.display()
    )]
    NonFiniteWeight {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Index of the first such element, counted along the rows.
        index: usize,
        /// The element.
        value: f32,
    },

    /// A token that the model does not have.
    #[error(
        "token {token} at position {position} of the input is not one of the model's, expected an id below {vocab}; encode the text with this model's own tokenizer"
    )]
    Token {
        /// The token id.
        token: u32,
        /// Where in the tokens handed over.
        position: usize,
        /// The length of the vocabulary.
        vocab: usize,
    },

    /// The forward pass ran into infinities.
    #[error(
        "the numbers became infinite or undefined in {place}, at token {position} of the chunk, expected finite numbers; check the file with --check-tensors, or start the sequence anew"
    )]
    NonFinite {
        /// The first part of the model where they are seen.
        place: Place,
        /// Where in the tokens handed over.
        position: usize,
    },

    /// A slot that a batch does not have.
    #[error("slot {slot} is not one of the batch's, expected a number below {slots}")]
    Slot {
        /// The slot's number.
        slot: usize,
        /// How many slots there are.
        slots: usize,
    },

    /// Two parts of one step for the same sequence.
    #[error(
        "slot {slot} is in two parts of one step, expected one at most; join them, or make two steps"
    )]
    SlotTwice {
        /// The slot's number.
        slot: usize,
    },

    /// A part of a step without any tokens.
    #[error("the part of slot {slot} has no tokens, expected one at least; leave it out")]
    EmptyPart {
        /// The slot's number.
        slot: usize,
    },

    /// More tokens than a step takes.
    #[error("a step of {tokens} tokens was asked for, expected at most {largest}; divide it")]
    StepTooLarge {
        /// Tokens of all parts.
        tokens: usize,
        /// The most that there may be.
        largest: usize,
    },

    /// In a step of several sequences, some ran into infinities. [`Batch::runaway_place`](crate::Batch::runaway_place) says
    /// where in the model.
    #[error(
        "the numbers became infinite or undefined in the sequences of slots {slots:?}, expected finite numbers; check the file with --check-tensors, or start these sequences anew"
    )]
    Runaway {
        /// The slots of these sequences, in the order of their parts.
        slots: Vec<usize>,
        /// What the step computed, `[rows, vocab]`: with it the other sequences can go on.
        logits: Logits,
    },

    /// There are no logits from which a token was chosen.
    #[error(
        "no token was chosen for slot {slot} in the last step, so there are no logits of it; ask for them right after the step"
    )]
    NothingChosen {
        /// The slot's number.
        slot: usize,
    },

    /// A setting that the model or the device does not allow.
    #[error("the {name} is {found}, expected {expected}")]
    Setting {
        /// What was set.
        name: &'static str,
        /// Its value.
        found: usize,
        /// The values that are accepted.
        expected: String,
    },

    /// Loading was ended by whoever watched its progress.
    #[error("loading the model was cancelled")]
    Cancelled,

    /// A failure of the device.
    #[cfg(not(target_arch = "wasm32"))]
    #[error(transparent)]
    Gpu(#[from] thalweg_gpu::Error),

    /// A defect of a kernel.
    #[error(transparent)]
    Kernel(#[from] thalweg_shaders::Error),

    /// A state that belongs to another model.
    #[error(
        "a state with {found} numbers was handed over as its {part}, expected {expected}; use a state of this very model"
    )]
    StateShape {
        /// Which part of the state.
        part: &'static str,
        /// Numbers in it.
        found: usize,
        /// Numbers that the model has there.
        expected: usize,
    },
}

/// Logits, which may be millions: for debugging they are counted, not listed.
#[derive(Clone, PartialEq)]
pub struct Logits(pub Vec<f32>);

impl fmt::Debug for Logits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} logits", self.0.len())
    }
}

fn listing(problems: &[Problem]) -> String {
    let mut text: String = problems
        .iter()
        .take(LISTED)
        .map(|problem| format!("\n  {problem}"))
        .collect();
    if problems.len() > LISTED {
        text += &format!("\n  and {} more", problems.len() - LISTED);
    }
    text
}
