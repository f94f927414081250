//! Running the program.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Flags that always take the most probable token.
pub(crate) const GREEDY: [&str; 6] = [
    "--temp",
    "0",
    "--presence-penalty",
    "0",
    "--frequency-penalty",
    "0",
];

/// Commands that run a model.
const MODEL_COMMANDS: [&str; 8] = [
    "generate",
    "chat",
    "batch",
    "perplexity",
    "logits",
    "bench",
    "profile",
    "tune",
];

/// The program with standard input and output connected to pipes. Unless a test names a backend, the CPU computes: what
/// it prints is the same on every machine.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(arguments);
    let runs_a_model = arguments
        .first()
        .is_some_and(|name| MODEL_COMMANDS.contains(name));
    if runs_a_model && !arguments.contains(&"--backend") {
        command.args(["--backend", "cpu"]);
    }
    command
        .env("THALWEG_CACHE_DIR", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program with nothing on its standard input.
pub(crate) fn run(arguments: &[&str]) -> Run {
    run_with_input(arguments, b"")
}

pub(crate) fn run_with_input(arguments: &[&str], input: &[u8]) -> Run {
    let mut child = command(arguments).spawn().unwrap();
    // A program that fails early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().expect("the program was killed"),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// Standard output of a run that must have succeeded.
    pub(crate) fn text(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// A failure is one paragraph on standard error, nothing on standard output, and an exit code.
    pub(crate) fn assert_fails(&self, code: i32, mentions: &[&str]) {
        let message = &self.stderr;
        assert_eq!(self.code, code, "{message}");
        assert!(
            self.stdout.is_empty(),
            "{}",
            String::from_utf8_lossy(&self.stdout)
        );
        assert!(message.starts_with("error: "), "{message}");
        assert_eq!(message.matches("error:").count(), 1, "{message}");
        assert!(
            !message.trim_end().contains("\n\n"),
            "more than one paragraph: {message}"
        );
        assert!(!message.contains("panicked"), "{message}");
        for part in mentions {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    }
}

/// A program that goes on writing text until it is stopped.
pub(crate) fn endless_generation(model: &Path, more: &[&str]) -> Child {
    let flags = [
        "generate",
        "-m",
        argument(model),
        "-p",
        "x",
        "-n",
        "1000000000",
    ];
    let flags = [&flags[..], &GREEDY, more].concat();
    command(&flags).spawn().unwrap()
}

/// A path as a command line argument.
pub(crate) fn argument(path: &Path) -> &str {
    path.to_str().unwrap()
}
