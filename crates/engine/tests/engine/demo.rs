//! Guesses on the demo model: the same text, whoever guesses.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use thalweg_engine::{Ending, Engine, EngineOptions, Request, SamplerSettings, Speculation, Token};
use thalweg_gguf::GgufFile;
use thalweg_rwkv::{
    Batch, Chosen, CpuBatch, CpuModel, Draft, Error, Hyperparameters, Part, Sampling, State,
};
use thalweg_tokenizer::Tokenizer;

struct Demo {
    model: Arc<CpuModel>,
    tokenizer: Arc<Tokenizer>,
}

static DEMO: LazyLock<Demo> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = GgufFile::open(&root.join("assets/thalweg-demo-29m-q4_k_m.gguf")).unwrap();
    let tokenizer = Tokenizer::from_gguf(file.metadata()).unwrap();
    Demo {
        model: Arc::new(CpuModel::load(file).unwrap()),
        tokenizer: Arc::new(tokenizer),
    }
});

/// The CPU with a wait in front of each step, so that it gains from doing more in one.
struct Waiting {
    batch: CpuBatch,
    wait: Duration,
}

fn waiting(slots: usize, wait_ms: u64) -> Waiting {
    Waiting {
        batch: CpuBatch::new(Arc::clone(&DEMO.model), slots),
        wait: Duration::from_millis(wait_ms),
    }
}

impl Batch for Waiting {
    fn hyperparameters(&self) -> &Hyperparameters {
        self.batch.hyperparameters()
    }

    fn slots(&self) -> usize {
        self.batch.slots()
    }

    fn largest_step(&self) -> usize {
        self.batch.largest_step()
    }

    fn forward(&mut self, parts: &[Part<'_>]) -> Result<Vec<f32>, Error> {
        self.batch.forward(parts)
    }

    fn set_sampling(&mut self, slot: usize, sampling: Sampling) -> Result<(), Error> {
        self.batch.set_sampling(slot, sampling)
    }

    fn sample(&mut self, parts: &[Part<'_>]) -> Result<Vec<Option<Chosen>>, Error> {
        std::thread::sleep(self.wait);
        self.batch.sample(parts)
    }

    fn choose(&mut self, slot: usize, logits: &[f32]) -> Result<Option<Chosen>, Error> {
        self.batch.choose(slot, logits)
    }

    fn logits(&mut self, slot: usize) -> Result<Vec<f32>, Error> {
        self.batch.logits(slot)
    }

    fn longest_guess(&self) -> usize {
        4
    }

    fn verify(&mut self, drafts: &[Draft<'_>]) -> Result<Vec<Vec<Option<Chosen>>>, Error> {
        std::thread::sleep(self.wait);
        self.batch.verify(drafts)
    }

    fn state(&mut self, slot: usize) -> Result<State, Error> {
        self.batch.state(slot)
    }

    fn set_state(&mut self, slot: usize, state: &State) -> Result<(), Error> {
        self.batch.set_state(slot, state)
    }

    fn copy_state(&mut self, from: usize, to: usize) -> Result<(), Error> {
        self.batch.copy_state(from, to)
    }

    fn reset(&mut self, slot: usize) -> Result<(), Error> {
        self.batch.reset(slot)
    }
}

/// What is said after a text that any model goes on repeating.
fn answer(sampler: &SamplerSettings, speculation: Speculation) -> (Vec<Token>, Ending) {
    let mut request = Request::new("round and round and ".repeat(8).trim());
    request.until.tokens = 24;
    request.sampler = sampler.clone();
    request.speculation = speculation;
    request.logprobs = Some(2);
    let options = EngineOptions::default();
    let engine = Engine::new(waiting(1, 120), Arc::clone(&DEMO.tokenizer), options).unwrap();
    let draft = waiting(2, 0);
    let mut engine = engine.with_draft_model(draft, &DEMO.tokenizer).unwrap();
    let mut handle = engine.submit(request).unwrap();
    let tokens: Result<Vec<Token>, _> = engine.tokens(&mut handle).collect();
    (tokens.unwrap(), handle.ending().unwrap().clone())
}

/// All of a token but when it came.
fn essence(tokens: &[Token]) -> Vec<Token> {
    let timeless = |token: &Token| Token {
        timing: Duration::ZERO,
        ..token.clone()
    };
    tokens.iter().map(timeless).collect()
}

#[test]
fn the_text_is_the_same_with_every_source() {
    let drawn = SamplerSettings {
        seed: 7,
        ..SamplerSettings::default()
    };
    let sources = [Speculation::Auto, Speculation::Ngram, Speculation::Draft];
    for (sampler, sources) in [
        (SamplerSettings::greedy(), &sources[..2]),
        (drawn, &sources[2..]),
    ] {
        let (expected, _) = answer(&sampler, Speculation::Off);
        for source in sources {
            let (found, ending) = answer(&sampler, *source);
            assert_eq!(essence(&found), essence(&expected), "{source:?}");
            let guesses = ending.timings.guesses;
            assert!(guesses.accepted > 0, "{source:?}: {guesses:?}");
            // The model as its own draft model is always right.
            if *source == Speculation::Draft {
                assert_eq!(guesses.accepted, guesses.drafted);
            }
        }
    }
}
