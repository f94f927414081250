//! The messages so far and the model that answers them.

use std::sync::Arc;

use thalweg_engine::{Error, Finish, SamplerSettings, Until};
use thalweg_tokenizer::chat::{ChatTemplate, Message, Role};
use thalweg_tokenizer::{Tokenizer, TokenizerKind};

use super::Args;
use crate::failure::Failure;
use crate::flags::Precision;
use crate::model::{Slots, Writer};
use crate::{interrupt, output, prompt_cache};

/// For the reply, for the state before a loop of steps, and for the states around the last two replies, so that they need
/// not leave the device.
const SLOTS: Slots = Slots::Alone(6);

/// A conversation. Each turn renders all messages anew; what the model has read of them before is taken from the
/// cache of states, so a turn costs its own tokens alone.
pub(super) struct Conversation {
    writer: Writer,
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    settings: SamplerSettings,
    /// Begun so far.
    replies: u64,
    system: Option<Message>,
    messages: Vec<Message>,
    /// Models with the World vocabulary know its layout; others say theirs if they have one.
    model_talks: bool,
    reply_limit: usize,
}

/// How a reply ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Complete,
    /// By Ctrl-C.
    Stopped,
}

impl Conversation {
    pub(super) fn new(args: &Args) -> Result<Self, Failure> {
        let settings = args.sampler.settings()?;
        let file = args.model.open()?;
        let tokenizer = Arc::new(Tokenizer::from_gguf(file.metadata())?);
        let guessing = args.speculation.open(&tokenizer)?;
        let template =
            ChatTemplate::from_gguf(file.metadata())?.with_thinking(args.thinking.into());
        let model_talks = tokenizer.kind() == TokenizerKind::World
            || file.metadata().contains("tokenizer.chat_template");
        let model_hash = args.prompt_cache.model_hash(&file)?;
        let model = args
            .model
            .start_batch(file, guessing, SLOTS, Precision::Fast)?;
        let cache = args.prompt_cache.open(model_hash, &model)?;
        let cache = cache.unwrap_or_else(prompt_cache::in_memory);
        Ok(Self {
            model_talks,
            writer: model.into_writer(Arc::clone(&tokenizer), Some(cache))?,
            tokenizer,
            template,
            settings,
            replies: 0,
            system: None,
            messages: Vec::new(),
            reply_limit: args.tokens,
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
            ..self.settings.clone()
        };
        settings.validate()?;
        self.settings = settings;
        Ok(())
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
        let tokens = self.tokens()?;
        let text = match self.write(tokens) {
            Err(Failure::Interrupted) => String::new(),
            written => written?,
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

    /// Has the model reply at the end of `tokens`, prints that as it comes and returns it.
    fn write(&mut self, tokens: Vec<u32>) -> Result<String, Failure> {
        let stop_strings = self.template.stop_strings().iter();
        let until = Until {
            tokens: self.reply_limit,
            stop_ids: self.tokenizer.stop_ids().to_vec(),
            stop_strings: stop_strings.map(ToString::to_string).collect(),
        };
        let settings = self.next_settings();
        let mut writing = self.writer.begin(tokens, settings, until)?;
        writing.read_prompt("reading")?;
        let mut reply = String::new();
        let ending = writing.write(|text| {
            let text = match reply.is_empty() {
                true => text.trim_start(),
                false => text,
            };
            reply.push_str(text);
            output::write(text.as_bytes())
        })?;
        if ending.finish == Finish::Limit {
            output::note_part(" [cut at the limit of -n]");
        }
        Ok(reply)
    }

    /// How the next reply's tokens are chosen: each has random numbers of its own, so that no two need be alike.
    fn next_settings(&mut self) -> SamplerSettings {
        let settings = SamplerSettings {
            seed: self.settings.seed.wrapping_add(self.replies),
            ..self.settings.clone()
        };
        self.replies += 1;
        settings
    }
}
