//! Layouts that a file brings along as a Jinja template.
//!
//! A template is a program from a stranger. It gets only the conversation to see, a number of steps that grows with the
//! conversation, a shallow stack, and room for a bounded text. What the engine cannot bound is the length of a string
//! that a template keeps in a variable: one made to double it again and again exhausts the memory.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use super::{Message, Role, TEMPLATE, Thinking};
use crate::Error;

/// Bytes of a template. The longest known ones, full of tool descriptions, have some 20,000.
const MAX_TEMPLATE_BYTES: usize = 256 << 10;

/// Bytes of a laid-out conversation, beyond any context that is read in one piece.
const MAX_TEXT_BYTES: usize = 64 << 20;

/// Steps of a template before the first message, and for each message. Known templates take a hundred or so for either.
const STEPS: u64 = 10_000;
const STEPS_PER_MESSAGE: u64 = 1_000;

/// Macros within macros.
const MAX_DEPTH: usize = 50;

/// A compiled Jinja template.
#[derive(Debug)]
pub(super) struct JinjaLayout {
    /// Holds the template alone, under the name of its metadata key.
    environment: Environment<'static>,
}

impl JinjaLayout {
    pub(super) fn new(source: &str) -> Result<Self, Error> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(Error::TemplateTooLong {
                bytes: source.len(),
                limit: MAX_TEMPLATE_BYTES,
            });
        }
        let mut environment = environment().map_err(syntax_error)?;
        environment
            .add_template_owned(TEMPLATE, source.to_owned())
            .map_err(syntax_error)?;
        Ok(Self { environment })
    }

    pub(super) fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        thinking: Thinking,
    ) -> Result<String, Error> {
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(STEPS + STEPS_PER_MESSAGE * messages.len() as u64));
        let template = environment.get_template(TEMPLATE).map_err(failure)?;
        let context = context! {
            messages => messages.iter().map(message_value).collect::<Vec<Value>>(),
            add_generation_prompt,
            enable_thinking => enable_thinking(thinking),
            // The tokenizer takes text literally, and adds begin-of-text itself where a model wants it.
            bos_token => "",
            eos_token => "",
        };
        let mut text = BoundedText::default();
        template
            .render_captured_to(context, &mut text)
            .map_err(failure)?;
        Ok(String::from_utf8_lossy(&text.0).into_owned())
    }
}

/// An environment as model templates expect it: that of Python's transformers library, without access to anything.
fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_recursion_limit(MAX_DEPTH);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(
        "raise_exception",
        |reason: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, reason))
        },
    );
    Ok(environment)
}

fn message_value(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    context! { role, content => message.content.as_str() }
}

fn enable_thinking(thinking: Thinking) -> Value {
    match thinking {
        Thinking::Off => Value::UNDEFINED,
        Thinking::On => Value::from(true),
        Thinking::Quick => Value::from(false),
    }
}

fn syntax_error(error: minijinja::Error) -> Error {
    Error::TemplateSyntax {
        reason: with_causes(&error),
    }
}

fn failure(error: minijinja::Error) -> Error {
    Error::TemplateFailed {
        reason: with_causes(&error),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}

/// Takes the text of a conversation up to [`MAX_TEXT_BYTES`].
#[derive(Default)]
struct BoundedText(Vec<u8>);

impl io::Write for BoundedText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT_BYTES {
            return Err(io::Error::other(format!(
                "it writes more than {MAX_TEXT_BYTES} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Vec<Message> {
        vec![
            Message::new(Role::System, " Be brief. "),
            Message::new(Role::User, "Hi"),
            Message::new(Role::Assistant, "<think>hm</think>Hello."),
            Message::new(Role::User, "Bye"),
        ]
    }

    fn render(source: &str) -> Result<String, Error> {
        JinjaLayout::new(source)?.render(&conversation(), true, Thinking::Off)
    }

    fn failure_of(source: &str) -> String {
        match render(source).unwrap_err() {
            Error::TemplateFailed { reason } => reason,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn lays_out_a_conversation_as_python_would() {
        let source = "
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'].strip() %}
    {%- set messages = messages[1:] %}
{%- endif %}
{% for message in messages %}
    {% set content = message['content'] %}
    {% if message['role'] == 'assistant' and '</think>' in content %}
        {% set content = content.split('</think>')[-1] %}
    {% endif %}
{{ '<|' + message.role + '|>' + (system + ' ' if loop.first else '') + content | trim }}
{% endfor %}
{% if add_generation_prompt %}
{{ bos_token + '<|assistant|>' }}
{%- endif %}
";
        let text = render(source).unwrap();
        assert_eq!(
            text,
            "<|user|>Be brief. Hi\n<|assistant|>Hello.\n<|user|>Bye\n<|assistant|>"
        );
    }

    #[test]
    fn shows_thinking_to_the_template() {
        let source = "{{ 'unsaid' if enable_thinking is not defined else enable_thinking }}";
        let layout = JinjaLayout::new(source).unwrap();
        let text = |thinking| layout.render(&[], false, thinking).unwrap();
        assert_eq!(text(Thinking::Off), "unsaid");
        assert_eq!(text(Thinking::On), "True");
        assert_eq!(text(Thinking::Quick), "False");
    }

    #[test]
    fn passes_on_what_the_template_objects_to() {
        let reason = failure_of("\n{{ raise_exception('Roles must alternate') }}");
        assert!(
            reason.contains("Roles must alternate") && reason.contains(":2"),
            "{reason}"
        );
        assert!(failure_of("{{ messages[0].content.nonsense() }}").contains("nonsense"));
    }

    #[test]
    fn refuses_what_is_not_jinja() {
        let error = render("text\n{% for %}").unwrap_err().to_string();
        assert!(
            error.starts_with("tokenizer.chat_template cannot be read: ") && error.contains(":2"),
            "{error}"
        );
        assert!(matches!(
            render(&"{".repeat(MAX_TEMPLATE_BYTES + 1)),
            Err(Error::TemplateTooLong { .. })
        ));
        assert!(matches!(
            render(&format!("{{{{ {}", "(".repeat(100_000))),
            Err(Error::TemplateSyntax { .. })
        ));
    }

    #[test]
    fn stops_templates_that_do_not_end() {
        let reason = failure_of(
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        );
        assert!(reason.contains("ran out of fuel"), "{reason}");
        let reason = failure_of("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}");
        assert!(reason.contains("recursion"), "{reason}");
        let reason =
            failure_of("{% set a = 'a' * 1000000 %}{% for i in range(100) %}{{ a }}{% endfor %}");
        assert!(reason.contains("it writes more than"), "{reason}");
    }

    #[test]
    fn deeply_nested_values_do_not_overflow_the_stack() {
        let nest = "{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}{% endfor %}";
        assert!(failure_of(nest).contains("ran out of fuel"));
    }
}
