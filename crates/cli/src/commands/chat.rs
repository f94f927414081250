//! `thalweg chat`: a conversation, line by line.

mod conversation;
mod entry;

use std::io::ErrorKind;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::failure::Failure;
use crate::flags::{ModelFlags, SamplerFlags, ThinkingFlag, whole_number};
use crate::output;
use crate::prompt_cache::PromptCacheFlags;
use crate::speculation::SpeculationFlags;
use conversation::{Conversation, Reply};
use entry::{Entry, HELP};

const AFTER_HELP: &str = "\
Arrow keys edit the line and go back in the history. Ctrl-C stops a reply; pressed twice it leaves. Lines may also \
come through a pipe; then each is answered in turn.

Commands in the conversation: /help /exit /reset /regen /system /temp

Examples:
  thalweg chat -m model.gguf
  thalweg chat -m model.gguf --system \"Answer in one sentence.\" --temp 0.7
  echo \"What is a thalweg?\" | thalweg chat -m model.gguf";

/// Talk with a model
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// Whether a model that can think before it answers does so; quick answers at once
    #[arg(long, value_enum, default_value_t = ThinkingFlag::Off)]
    thinking: ThinkingFlag,

    /// Tokens of a reply at most
    #[arg(short = 'n', long, value_name = "N", value_parser = whole_number::<usize>, default_value_t = 1024)]
    tokens: usize,

    #[command(flatten)]
    sampler: SamplerFlags,

    #[command(flatten)]
    prompt_cache: PromptCacheFlags,

    #[command(flatten)]
    speculation: SpeculationFlags,

    #[command(flatten)]
    model: ModelFlags,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut conversation = Conversation::new(args)?;
    conversation.set_system(args.system.as_deref().unwrap_or_default());
    let mut editor = Editor::new()?;
    if output::is_watched() {
        conversation.introduce();
    }
    let mut last_was_interrupt = false;
    loop {
        let entry = match editor.read()? {
            Line::Text(line) => Entry::parse(&line),
            Line::End => return Ok(()),
            Line::Interrupt if last_was_interrupt => return Err(Failure::Interrupted),
            Line::Interrupt => {
                output::note("Ctrl-C once more leaves.");
                last_was_interrupt = true;
                continue;
            }
        };
        let reply = match entry {
            Entry::Exit => return Ok(()),
            Entry::Say(text) => conversation.say(text)?,
            Entry::Regenerate => conversation.regenerate()?,
            other => {
                answer(&mut conversation, other);
                Reply::Complete
            }
        };
        last_was_interrupt = reply == Reply::Stopped;
    }
}

/// Entries that lead to no reply of the model.
fn answer(conversation: &mut Conversation, entry: Entry) {
    match entry {
        Entry::Help => output::note(HELP),
        Entry::Reset => conversation.reset(),
        Entry::System(text) => conversation.set_system(&text),
        Entry::Temperature(temperature) => {
            if let Err(error) = conversation.set_temperature(temperature) {
                output::note(error);
            }
        }
        Entry::Mistake(message) => output::note(message),
        Entry::Nothing | Entry::Exit | Entry::Regenerate | Entry::Say(_) => {}
    }
}

/// The line editor; on a pipe it reads plain lines and shows no prompt.
struct Editor(DefaultEditor);

enum Line {
    Text(String),
    Interrupt,
    End,
}

impl Editor {
    fn new() -> Result<Self, Failure> {
        let config = rustyline::Config::builder().auto_add_history(true).build();
        DefaultEditor::with_config(config)
            .map(Self)
            .map_err(|error| cannot_read(&error))
    }

    fn read(&mut self) -> Result<Line, Failure> {
        match self.0.readline("> ") {
            Ok(line) => Ok(Line::Text(line)),
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupt),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(cannot_read(&error)),
        }
    }
}

fn cannot_read(error: &ReadlineError) -> Failure {
    match error {
        ReadlineError::Io(error) if error.kind() == ErrorKind::InvalidData => Failure::Model(
            "the line from standard input holds bytes that are not text, expected UTF-8; convert the input".to_owned(),
        ),
        error => Failure::Path(format!("cannot read the next line: {error}; check where standard input comes from")),
    }
}
