//! The description for people: one line a subject.

use std::fmt;

use thalweg_engine::ChunkSize;
use thalweg_rwkv::{Hyperparameters, MemoryEstimate};

use super::summary::Summary;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |subject: &str, text: String| writeln!(f, "{subject:13} {text}");
        line(
            "file",
            format!(
                "{} ({}, GGUF v{})",
                self.path,
                mebibytes(self.bytes),
                self.version
            ),
        )?;
        line(
            "name",
            self.name.clone().unwrap_or_else(|| "not given".to_owned()),
        )?;
        line(
            "architecture",
            self.architecture
                .clone()
                .unwrap_or_else(|| "not given".to_owned()),
        )?;
        line("sizes", self.sizes_text())?;
        if let Some(hp) = &self.sizes {
            line("ranks", ranks_text(hp))?;
        }
        line(
            "parameters",
            format!("{} in {} tensors", grouped(self.parameters), self.tensors),
        )?;
        for (ty, total) in &self.types {
            let text = format!("{} in {} tensors", mebibytes(total.bytes), total.tensors);
            line(&format!("  {ty}"), text)?;
        }
        line("tokenizer", self.tokenizer_text())?;
        line(
            "chat template",
            self.chat_template.unwrap_or("none").to_owned(),
        )?;
        if let Some(memory) = &self.memory {
            line("state", format!("{} a sequence", mebibytes(memory.state)))?;
            line("memory", memory_text(memory))?;
        }
        match &self.runs {
            Ok(()) => line("runs", "yes".to_owned()),
            Err(reason) => line("runs", format!("no: {reason}")),
        }
    }
}

impl Summary {
    /// Layers, width and the like; for RWKV-7 also what follows from them.
    fn sizes_text(&self) -> String {
        let mut parts: Vec<String> = self
            .announced
            .iter()
            .map(|(name, size)| format!("{name} {size}"))
            .collect();
        if let Some(hp) = &self.sizes {
            parts.push(format!("heads {} of {}", hp.heads, hp.head_size));
            parts.push(format!("vocabulary {}", hp.vocab));
        }
        if parts.is_empty() {
            "not given".to_owned()
        } else {
            parts.join(", ")
        }
    }

    fn tokenizer_text(&self) -> String {
        let tokenizer = match &self.tokenizer {
            Ok(tokenizer) => tokenizer,
            Err(error) => return format!("cannot be used: {error}"),
        };
        let begin = match tokenizer.bos_id() {
            Some(id) if tokenizer.add_bos() => format!("begins every text with {id}"),
            Some(id) => format!("begin-of-text {id}, not added by itself"),
            None => "no begin-of-text".to_owned(),
        };
        let stops: Vec<String> = tokenizer.stop_ids().iter().map(u32::to_string).collect();
        let stops = if stops.is_empty() {
            "never".to_owned()
        } else {
            format!("at {}", stops.join(", "))
        };
        format!(
            "{}, {} tokens, {begin}, stops {stops}",
            tokenizer.kind(),
            tokenizer.vocab_len()
        )
    }
}

fn ranks_text(hp: &Hyperparameters) -> String {
    let ranks = hp.ranks;
    format!(
        "decay {}, iclr {}, value residual {}, gate {}",
        ranks.decay, ranks.iclr, ranks.value_residual, ranks.gate
    )
}

fn memory_text(memory: &MemoryEstimate) -> String {
    format!(
        "{} = weights {} + state {} + activations {} (chunks of {})",
        mebibytes(memory.total()),
        mebibytes(memory.weights),
        mebibytes(memory.state),
        mebibytes(memory.activations),
        ChunkSize::default().tokens()
    )
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (29_059_584, "29,059,584"),
        ];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }
}
