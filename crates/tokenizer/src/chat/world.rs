//! The layout of World and G1 models: turns that begin with the speaker's name and end with a blank line.

use super::{Message, Role, Thinking};
use crate::Error;

/// A model that goes on after its reply speaks for the user next.
pub(super) const STOP_STRINGS: &[&str] = &["\n\nUser:"];

const END_OF_TURN: &str = "\n\n";

pub(super) fn render(
    messages: &[Message],
    add_generation_prompt: bool,
    thinking: Thinking,
) -> Result<String, Error> {
    let mut text = String::new();
    for (position, message) in messages.iter().enumerate() {
        text += &turn(position, message)?;
        text += END_OF_TURN;
    }
    if add_generation_prompt {
        text += beginning_of_reply(thinking);
    }
    Ok(text)
}

fn turn(position: usize, message: &Message) -> Result<String, Error> {
    let content = message.content.trim();
    match message.role {
        Role::System if position > 0 => Err(Error::SystemNotFirst { position }),
        Role::System => Ok(format!("System: {content}")),
        Role::User => Ok(format!("User: {}", without_blank_lines(content))),
        Role::Assistant => Ok(format!("Assistant: {content}")),
    }
}

/// A blank line would end the turn.
fn without_blank_lines(content: &str) -> String {
    let lines: Vec<&str> = content
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines.join("\n")
}

/// Without the blank or `>` that comes next: the model writes them, because tokens begin with them.
fn beginning_of_reply(thinking: Thinking) -> &'static str {
    match thinking {
        Thinking::Off => "Assistant:",
        Thinking::On => "Assistant: <think",
        Thinking::Quick => "Assistant: <think></think",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(messages: &[(Role, &str)], thinking: Thinking) -> String {
        let messages: Vec<Message> = messages
            .iter()
            .map(|(role, content)| Message::new(*role, *content))
            .collect();
        render(&messages, true, thinking).unwrap()
    }

    #[test]
    fn lays_out_turns_one_after_another() {
        let text = rendered(
            &[
                (Role::System, "Be brief."),
                (Role::User, "Hi"),
                (Role::Assistant, "Hello."),
                (Role::User, "Bye"),
            ],
            Thinking::Off,
        );
        assert_eq!(
            text,
            "System: Be brief.\n\nUser: Hi\n\nAssistant: Hello.\n\nUser: Bye\n\nAssistant:"
        );
    }

    #[test]
    fn opens_the_reply_as_thinking_says() {
        let ends =
            |thinking| rendered(&[(Role::User, "Hi")], thinking).split_off("User: Hi\n\n".len());
        assert_eq!(ends(Thinking::Off), "Assistant:");
        assert_eq!(ends(Thinking::On), "Assistant: <think");
        assert_eq!(ends(Thinking::Quick), "Assistant: <think></think");
    }

    #[test]
    fn ends_with_the_last_turn_when_no_reply_is_wanted() {
        let messages = [Message::new(Role::User, "Hi")];
        assert_eq!(
            render(&messages, false, Thinking::On).unwrap(),
            "User: Hi\n\n"
        );
    }

    #[test]
    fn trims_contents_and_collapses_blank_lines_of_the_user_alone() {
        let text = rendered(
            &[
                (Role::User, "\n a\r\n \t\r\n\n\n  b\n"),
                (Role::Assistant, " c\n\nd\n"),
                (Role::User, "e"),
            ],
            Thinking::Off,
        );
        assert_eq!(
            text,
            "User: a\n  b\n\nAssistant: c\n\nd\n\nUser: e\n\nAssistant:"
        );
    }

    #[test]
    fn refuses_a_system_message_in_the_middle() {
        let messages = [
            Message::new(Role::User, "Hi"),
            Message::new(Role::System, "Be brief."),
        ];
        let error = render(&messages, true, Thinking::Off).unwrap_err();
        assert!(
            matches!(error, Error::SystemNotFirst { position: 1 }),
            "{error}"
        );
    }
}
