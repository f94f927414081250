//! Sessions that need no model, and a tokenizer that needs no file.

use thalweg_gguf::GgufFile;
use thalweg_gguf::writer::GgufWriter;
use thalweg_rwkv::{Error, Hyperparameters, Ranks, Session, State, Wanted};
use thalweg_tokenizer::Tokenizer;

/// Tokens of [`tokenizer`]: 0 is control, the others are single characters, the last two the bytes of one.
pub(crate) const CHARACTERS: [&str; 12] = [
    "a", "b", "c", "E", "N", "D", " ", "\\n", ".", "!", "\\xc3", "\\xa9",
];
pub(crate) const STOP: u32 = 0;
pub(crate) const VOCAB: usize = CHARACTERS.len() + 1;

pub(crate) fn tokenizer() -> Tokenizer {
    tokenizer_of(&CHARACTERS)
}

pub(crate) fn tokenizer_of(characters: &[&'static str]) -> Tokenizer {
    let names = std::iter::once("<end>").chain(characters.iter().copied());
    let types = std::iter::once(3).chain(characters.iter().map(|_| 1));
    let bytes = GgufWriter::new()
        .str("general.architecture", "rwkv7")
        .str("tokenizer.ggml.model", "rwkv")
        .strings("tokenizer.ggml.tokens", names)
        .i32s("tokenizer.ggml.token_type", types)
        .u32("tokenizer.ggml.eos_token_id", STOP)
        .finish();
    Tokenizer::from_gguf(GgufFile::from_bytes(bytes).unwrap().metadata()).unwrap()
}

/// A session whose logits depend on every token read and on their order, like a model's.
pub(crate) struct FakeSession {
    pub(crate) hyperparameters: Hyperparameters,
    pub(crate) state: State,
    /// What comes next after so many tokens, for certain; random logits beyond its end.
    pub(crate) script: Vec<u32>,
    /// Whether nothing but the last token counts.
    pub(crate) is_chain: bool,
    /// One in so many times it says something else; never if 0.
    pub(crate) slips: u32,
    /// The lengths of the chunks read and what was wanted of them.
    pub(crate) calls: Vec<(usize, Wanted)>,
}

impl FakeSession {
    pub(crate) fn new() -> Self {
        Self::with_vocab(VOCAB)
    }

    /// One that claims to know so many tokens.
    pub(crate) fn with_vocab(vocab: usize) -> Self {
        let ranks = Ranks {
            decay: 1,
            iclr: 1,
            value_residual: 1,
            gate: 1,
        };
        let hyperparameters = Hyperparameters {
            layers: 1,
            width: 1,
            heads: 1,
            head_size: 1,
            ffn: 1,
            vocab,
            ranks,
            layer_norm_eps: 1e-5,
            context: 0,
        };
        let state = State::zeros(&hyperparameters);
        Self {
            hyperparameters,
            state,
            script: Vec::new(),
            is_chain: false,
            slips: 0,
            calls: Vec::new(),
        }
    }

    /// After `prompt` tokens, `text` follows, spelt with [`CHARACTERS`] by index.
    pub(crate) fn scripted(prompt: usize, text: &[u32]) -> Self {
        let script = std::iter::repeat_n(1, prompt - 1)
            .chain(text.iter().copied())
            .collect();
        Self {
            script,
            ..Self::new()
        }
    }

    fn tokens_read(&self) -> usize {
        self.state.att_shift[0] as usize
    }

    fn read(&mut self, token: u32) {
        self.state.att_shift[0] += 1.0;
        let hash = match self.is_chain {
            true => 0,
            false => self.state.ffn_shift[0] as u32,
        };
        self.state.ffn_shift[0] = ((hash * 31 + token + 1) % (1 << 20)) as f32;
    }

    fn logits(&self) -> Vec<f32> {
        let slips = mix(self.tokens_read() as u32).checked_rem(self.slips) == Some(0);
        if slips {
            return logits_of(1 << 20);
        }
        if let Some(&next) = self.script.get(self.tokens_read() - 1) {
            return (0..VOCAB)
                .map(|token| if token == next as usize { 50.0 } else { 0.0 })
                .collect();
        }
        logits_of(self.state.ffn_shift[0] as u32)
    }
}

fn logits_of(hash: u32) -> Vec<f32> {
    (0..VOCAB as u32)
        .map(|token| (mix(hash * 16 + token) >> 16) as f32 / 1e4)
        .collect()
}

/// Bits that depend on every bit of `x`.
fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

impl Session for FakeSession {
    fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyperparameters
    }

    fn forward(&mut self, tokens: &[u32], wanted: Wanted) -> Result<Vec<f32>, Error> {
        self.calls.push((tokens.len(), wanted));
        let first_wanted = tokens.len() - wanted.count(tokens.len());
        let mut logits = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            self.read(*token);
            if index >= first_wanted {
                logits.extend(self.logits());
            }
        }
        Ok(logits)
    }

    fn state(&mut self) -> Result<State, Error> {
        Ok(self.state.clone())
    }

    fn set_state(&mut self, state: &State) -> Result<(), Error> {
        self.state = state.clone();
        Ok(())
    }

    fn reset(&mut self) {
        self.state = State::zeros(&self.hyperparameters);
    }
}
