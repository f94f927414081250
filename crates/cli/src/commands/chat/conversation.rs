//! The messages so far and the model that answers them.

use std::sync::atomic::AtomicBool;

use thalweg_engine::{
    Error, Finish, Generation, Prefill, PrefixCache, Sampler, SamplerSettings, Until,
};
use thalweg_tokenizer::chat::{ChatTemplate, Message, Role, Thinking};
use thalweg_tokenizer::{Tokenizer, TokenizerKind};

use crate::failure::Failure;
use crate::flags::{ModelFlags, Precision};
use crate::model::Model;
use crate::prompt_cache::{self, PromptCacheFlags};
use crate::{interrupt, output};

/// A conversation. Each turn renders all messages anew; what the model has read of them before is taken from the
/// cache of states, so a turn costs its own tokens alone.
pub(super) struct Conversation {
    model: Model,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    sampler: Sampler,
    cache: PrefixCache,
    system: Option<Message>,
    messages: Vec<Message>,
    /// Models with the World vocabulary know its layout; others say theirs if they have one.
    model_talks: bool,
    reply_limit: usize,
    interrupt: &'static AtomicBool,
}

/// How a reply ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Complete,
    /// By Ctrl-C.
    Stopped,
}

impl Conversation {
    pub(super) fn new(
        flags: &ModelFlags,
        prompt_cache: &PromptCacheFlags,
        settings: SamplerSettings,
        thinking: Thinking,
        reply_limit: usize,
    ) -> Result<Self, Failure> {
        let file = flags.open()?;
        let tokenizer = Tokenizer::from_gguf(file.metadata())?;
        let template = ChatTemplate::from_gguf(file.metadata())?.with_thinking(thinking);
        let model_talks = tokenizer.kind() == TokenizerKind::World
            || file.metadata().contains("tokenizer.chat_template");
        let model_hash = prompt_cache.model_hash(&file)?;
        let model = flags.start(file, Precision::Fast)?;
        let cache = prompt_cache.open(model_hash, &model)?;
        Ok(Self {
            model_talks,
            cache: cache.unwrap_or_else(prompt_cache::in_memory),
            model,
            tokenizer,
            template,
            sampler: Sampler::new(settings)?,
            system: None,
            messages: Vec::new(),
            reply_limit,
            interrupt: interrupt::watch(),
        })
    }

    /// Says how to begin, and what to expect of a model that was not trained to talk.
    pub(super) fn introduce(&self) {
        if !self.model_talks {
            output::note(
                "This model names no chat format; expect it to tell stories rather than to answer.",
            );
        }
        output::note("Type a line to begin, /help for the commands.");
    }

    /// Sets what the model is told first; an empty text clears it.
    pub(super) fn set_system(&mut self, text: &str) {
        self.system = (!text.is_empty()).then(|| Message::new(Role::System, text));
    }

    pub(super) fn set_temperature(&mut self, temperature: f32) -> Result<(), Error> {
        let settings = SamplerSettings {
            temperature,
            ..self.sampler.settings().clone()
        };
        self.sampler.set_settings(settings)
    }

    /// Forgets the messages.
    pub(super) fn reset(&mut self) {
        self.messages.clear();
    }

    /// Says something to the model and prints its reply.
    pub(super) fn say(&mut self, text: String) -> Result<Reply, Failure> {
        self.messages.push(Message::new(Role::User, text));
        self.reply()
    }

    /// Prints another reply to the last message.
    pub(super) fn regenerate(&mut self) -> Result<Reply, Failure> {
        self.messages
            .pop_if(|message| message.role == Role::Assistant);
        if self.messages.is_empty() {
            output::note("There is no message to reply to yet.");
            return Ok(Reply::Complete);
        }
        self.reply()
    }

    /// Replies to the last message, which is the user's. If nothing was said, that message is taken back.
    fn reply(&mut self) -> Result<Reply, Failure> {
        interrupt::lower();
        self.sampler.forget();
        let tokens = self.tokens()?;
        let text = match self.read(&tokens) {
            Ok(prefill) => self.generate(tokens, prefill)?,
            Err(Error::Interrupted { .. }) => String::new(),
            Err(error) => return Err(error.into()),
        };
        output::line("")?;
        if text.is_empty() {
            self.messages.pop();
        } else {
            self.messages.push(Message::new(Role::Assistant, text));
        }
        Ok(if interrupt::lower() {
            Reply::Stopped
        } else {
            Reply::Complete
        })
    }

    /// The whole conversation up to where the reply begins.
    fn tokens(&self) -> Result<Vec<u32>, Failure> {
        let messages: Vec<Message> = self.system.iter().chain(&self.messages).cloned().collect();
        let text = self.template.render(&messages, true)?;
        let mut tokens: Vec<u32> = self
            .tokenizer
            .bos_id()
            .filter(|_| self.tokenizer.add_bos())
            .into_iter()
            .collect();
        tokens.extend(self.tokenizer.encode(text.as_bytes())?);
        Ok(tokens)
    }

    /// Brings the session to the end of `tokens`, from the nearest remembered state.
    fn read(&mut self, tokens: &[u32]) -> Result<Prefill, Error> {
        let known = self.cache.known(tokens);
        let chunk_size = self.model.chunk_size;
        let bar = output::progress(tokens.len() - known, chunk_size.tokens(), "reading");
        let result = self.cache.read(
            self.model.session.as_mut(),
            tokens,
            chunk_size,
            self.interrupt,
            &mut |read| bar.set_position(read as u64),
        );
        bar.finish_and_clear();
        prompt_cache::report(self.cache.take_faults());
        result
    }

    /// Prints the reply as it comes and returns it.
    fn generate(&mut self, mut tokens: Vec<u32>, prefill: Prefill) -> Result<String, Failure> {
        let until = Until {
            tokens: self.reply_limit,
            stop_ids: self.tokenizer.stop_ids().to_vec(),
            stop_strings: self
                .template
                .stop_strings()
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        let session = self.model.session.as_mut();
        let mut generation = Generation::new(
            session,
            &self.tokenizer,
            &mut self.sampler,
            prefill,
            until,
            self.interrupt,
        );
        let mut reply = String::new();
        for text in &mut generation {
            let text = text?;
            let text = if reply.is_empty() {
                text.trim_start()
            } else {
                &text
            };
            output::write(text.as_bytes())?;
            reply.push_str(text);
        }
        let outcome = generation.outcome();
        if outcome.finish == Some(Finish::Limit) {
            output::note_part(" [cut at the limit of -n]");
        }
        tokens.extend(&outcome.tokens[..outcome.read]);
        let session = self.model.session.as_mut();
        self.cache
            .remember(session, &tokens, Some(&outcome.logits))?;
        Ok(reply)
    }
}
