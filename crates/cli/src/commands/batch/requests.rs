//! From a line of the input to a request.

use thalweg_engine::{Request, SamplerSettings, Speculation, Until};
use thalweg_tokenizer::chat::ChatTemplate;
use thalweg_tokenizer::{Error, Tokenizer};

use super::Args;
use super::entry::{Entry, Source};

/// What is asked of the engine for a line.
pub(super) struct Task {
    pub(super) request: Request,
    /// Whether the text replies to messages: then blanks in front of it belong to the layout, not to it.
    pub(super) is_message: bool,
}

/// What the flags say of every line that does not say otherwise, and how the model wants its texts.
pub(super) struct Requests {
    tokens: usize,
    sampler: SamplerSettings,
    speculation: Speculation,
    stop: Vec<String>,
    logprobs: Option<usize>,
    template: ChatTemplate,
    stop_ids: Vec<u32>,
}

impl Requests {
    pub(super) fn new(
        args: &Args,
        sampler: SamplerSettings,
        speculation: Speculation,
        template: ChatTemplate,
        tokenizer: &Tokenizer,
    ) -> Self {
        Self {
            tokens: args.tokens,
            sampler,
            speculation,
            stop: args.stop.clone(),
            logprobs: args.logprobs.map(usize::from),
            template: template.with_thinking(args.thinking.into()),
            stop_ids: tokenizer.stop_ids().to_vec(),
        }
    }

    /// What line `number` asks for. Lines without a seed of their own count up from that of the flags, so that equal
    /// prompts get different replies.
    ///
    /// # Errors
    /// What the model's chat template says of the messages.
    pub(super) fn make(&self, number: u64, entry: Entry) -> Result<Task, Error> {
        let defaults = &self.sampler;
        let sampler = SamplerSettings {
            temperature: entry.temp.unwrap_or(defaults.temperature),
            top_k: entry.top_k.unwrap_or(defaults.top_k),
            top_p: entry.top_p.unwrap_or(defaults.top_p),
            min_p: entry.min_p.unwrap_or(defaults.min_p),
            presence_penalty: entry.presence_penalty.unwrap_or(defaults.presence_penalty),
            frequency_penalty: entry
                .frequency_penalty
                .unwrap_or(defaults.frequency_penalty),
            penalty_decay: entry.penalty_decay.unwrap_or(defaults.penalty_decay),
            seed: entry
                .seed
                .unwrap_or_else(|| defaults.seed.wrapping_add(number)),
            ..defaults.clone()
        };
        let mut stop_strings = entry.stop.unwrap_or_else(|| self.stop.clone());
        let is_message = matches!(entry.source, Source::Messages(_));
        let prompt = match entry.source {
            Source::Prompt(prompt) => prompt,
            Source::Messages(messages) => {
                let template_stops = self.template.stop_strings();
                stop_strings.extend(template_stops.iter().map(ToString::to_string));
                self.template.render(&messages, true)?
            }
        };
        let until = Until {
            tokens: entry.tokens.unwrap_or(self.tokens),
            stop_ids: self.stop_ids.clone(),
            stop_strings,
        };
        let request = Request {
            sampler,
            until,
            speculation: self.speculation,
            logprobs: entry.logprobs.or(self.logprobs),
            ..Request::new(prompt.as_str())
        };
        Ok(Task {
            request,
            is_message,
        })
    }
}
