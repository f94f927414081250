//! How a conversation is laid out as text for the model to continue.

mod jinja;
mod world;

use thalweg_gguf::Metadata;

use crate::Error;
use jinja::JinjaLayout;

const TEMPLATE: &str = "tokenizer.chat_template";

/// What a file writes in place of a Jinja template when it means the built-in World layout.
const WORLD: &str = "rwkv-world";

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever sets the rules of the conversation, before it begins.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
}

/// How a model that has been trained to think begins its reply. A Jinja template sees it as `enable_thinking`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thinking {
    /// The model decides; models that do not think want this. `enable_thinking` is not defined.
    #[default]
    Off,
    /// The model thinks first. `enable_thinking` is true.
    On,
    /// The model answers at once, as if it had thought. `enable_thinking` is false.
    Quick,
}

/// The layout of conversations that a model was trained with.
#[derive(Debug)]
pub struct ChatTemplate {
    layout: Layout,
    thinking: Thinking,
}

#[derive(Debug)]
enum Layout {
    World,
    Jinja(Box<JinjaLayout>),
}

impl ChatTemplate {
    /// The layout that a file prescribes: its Jinja template, or the built-in World layout where it has none.
    ///
    /// # Errors
    ///
    /// If the file's template is not valid Jinja.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, Error> {
        let layout = match metadata.opt_str(TEMPLATE)? {
            None | Some(WORLD) => Layout::World,
            Some(source) => Layout::Jinja(Box::new(JinjaLayout::new(source)?)),
        };
        Ok(Self {
            layout,
            thinking: Thinking::Off,
        })
    }

    /// The same layout with replies that begin as `thinking` says.
    pub fn with_thinking(self, thinking: Thinking) -> Self {
        Self { thinking, ..self }
    }

    /// The text of a conversation. With `add_generation_prompt` it ends where the model's reply begins.
    ///
    /// In the World layout the text of a conversation is that of its turns one after another.
    ///
    /// # Errors
    ///
    /// If the template fails, or the World layout gets a system message that is not the first message.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, Error> {
        match &self.layout {
            Layout::World => world::render(messages, add_generation_prompt, self.thinking),
            Layout::Jinja(jinja) => jinja.render(messages, add_generation_prompt, self.thinking),
        }
    }

    /// Texts with which a reply is over, besides [`crate::Tokenizer::stop_ids`]; they are not part of it.
    pub fn stop_strings(&self) -> &'static [&'static str] {
        match self.layout {
            Layout::World => world::STOP_STRINGS,
            Layout::Jinja(_) => &[],
        }
    }
}
