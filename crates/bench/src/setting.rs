//! What a case does, and what its speed depends on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a case measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Reading a prompt, in chunks.
    Prefill,
    /// Single tokens, each waited for.
    Decode,
    /// Single tokens of several sequences at once, each of the steps waited for.
    Parallel,
    /// Single tokens of one sequence or several, each chosen where the model runs, each of the steps waited for.
    Sampled,
    /// The same without waiting for each of the steps.
    Loop,
}

/// What matrices meet in products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    /// Floats.
    #[default]
    F32,
    /// 8-bit integers.
    Q8,
}

impl Activations {
    /// As flags and reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Q8 => "q8",
        }
    }
}

/// What a case does, and the settings that its speed depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Setting {
    /// What is measured.
    pub task: Task,
    /// Tokens of one sample, of each sequence.
    pub tokens: usize,
    /// Sequences that are read at once.
    pub sequences: usize,
    /// Tokens that each sequence has read before.
    #[serde(default)]
    pub depth: usize,
    /// Tokens read at once.
    pub chunk_size: usize,
    /// Threads a side of the matmul's workgroup, where there is one.
    pub block_size: Option<u32>,
    /// What matrices meet.
    #[serde(default)]
    pub activations: Activations,
}

/// What is measured, whatever the settings: two devices that do the same test can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Test {
    task: Task,
    tokens: usize,
    sequences: usize,
    depth: usize,
}

impl Setting {
    /// What is measured.
    pub fn test(&self) -> Test {
        Test {
            task: self.task,
            tokens: self.tokens,
            sequences: self.sequences,
            depth: self.depth,
        }
    }

    /// Tokens of one sample, of all sequences together.
    pub fn all_tokens(&self) -> f64 {
        self.tokens as f64 * self.sequences as f64
    }

    /// The chunk size where it matters: for prompts.
    pub fn prompt_chunk(&self) -> Option<usize> {
        (self.task == Task::Prefill).then_some(self.chunk_size)
    }
}

/// The names that llama-bench has for the same: `pp512`, `tg128`, `tg128 @ d4096`; what it does not have is built alike.
impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Test {
            task,
            tokens,
            sequences,
            depth,
        } = self;
        match task {
            Task::Prefill => write!(f, "pp{tokens}")?,
            Task::Decode | Task::Parallel => write!(f, "tg{tokens}")?,
            Task::Sampled => write!(f, "tg{tokens}-sampled")?,
            Task::Loop => write!(f, "tg{tokens}-loop")?,
        }
        if *task == Task::Parallel || *sequences > 1 {
            write!(f, " x{sequences}")?;
        }
        if *depth > 0 {
            write!(f, " @ d{depth}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_as_llama_bench_names_them() {
        let name = |task, tokens, sequences, depth| {
            let test = Test {
                task,
                tokens,
                sequences,
                depth,
            };
            test.to_string()
        };
        assert_eq!(name(Task::Prefill, 512, 1, 0), "pp512");
        assert_eq!(name(Task::Decode, 128, 1, 0), "tg128");
        assert_eq!(name(Task::Decode, 128, 1, 4096), "tg128 @ d4096");
        assert_eq!(name(Task::Parallel, 32, 1, 0), "tg32 x1");
        assert_eq!(name(Task::Sampled, 32, 1, 0), "tg32-sampled");
        assert_eq!(name(Task::Loop, 32, 8, 512), "tg32-loop x8 @ d512");
    }

    #[test]
    fn settings_of_before_depths_and_activations_are_read() {
        let old = r#"{"task":"decode","tokens":3,"sequences":1,"chunk_size":1,"block_size":null}"#;
        let setting: Setting = serde_json::from_str(old).unwrap();
        assert_eq!((setting.depth, setting.activations), (0, Activations::F32));
    }
}
