//! The description of a file, as far as the file allows one.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use thalweg_engine::ChunkSize;
use thalweg_gguf::{GgufFile, TensorType};
use thalweg_rwkv::{Hyperparameters, MemoryEstimate, tensors};
use thalweg_tokenizer::{Error as TokenizerError, Tokenizer};

/// What is known of a file. Parts that the file does not allow carry the reason instead.
pub(super) struct Summary {
    path: String,
    bytes: u64,
    version: u32,
    name: Option<String>,
    architecture: Option<String>,
    context: Option<u32>,
    sizes: Result<Hyperparameters, String>,
    /// Whether the model can be run, and if not, why.
    runs: Result<(), String>,
    tensors: usize,
    parameters: u64,
    types: BTreeMap<TensorType, TypeTotal>,
    tokenizer: Result<Tokenizer, TokenizerError>,
    chat_template: Option<&'static str>,
    memory: Option<MemoryEstimate>,
}

/// Totals over the tensors of one type.
#[derive(Default)]
struct TypeTotal {
    tensors: u64,
    parameters: u64,
    bytes: u64,
}

impl Summary {
    pub(super) fn new(file: &GgufFile) -> Self {
        let metadata = file.metadata();
        let string = |key| metadata.opt_str(key).ok().flatten().map(str::to_owned);
        let architecture = string("general.architecture");
        let number = |key: &str| {
            metadata
                .opt_u32(&format!("{}.{key}", architecture.as_deref()?))
                .ok()
                .flatten()
        };
        let sizes = Hyperparameters::from_gguf(file);
        Self {
            path: file.path().display().to_string(),
            bytes: file.bytes_len(),
            version: file.version(),
            name: string("general.name"),
            context: number("context_length"),
            runs: runs(file, &sizes),
            tensors: file.tensors().len(),
            parameters: file.tensors().iter().map(|tensor| tensor.elements()).sum(),
            types: count_types(file),
            tokenizer: Tokenizer::from_gguf(metadata),
            chat_template: string("tokenizer.chat_template").map(|text| {
                if text == "rwkv-world" {
                    "rwkv-world"
                } else {
                    "jinja"
                }
            }),
            memory: sizes
                .as_ref()
                .ok()
                .map(|hp| MemoryEstimate::new(file, hp, ChunkSize::default().tokens())),
            sizes: sizes.map_err(|error| error.to_string()),
            architecture,
        }
    }

    /// The summary as an object; what is not known is null.
    pub(super) fn json(&self) -> Value {
        json!({
            "path": self.path,
            "bytes": self.bytes,
            "gguf_version": self.version,
            "name": self.name,
            "architecture": self.architecture,
            "context": self.context,
            "sizes": self.sizes.as_ref().ok().map(sizes_json),
            "runs": self.runs.is_ok(),
            "why_not": self.runs.as_ref().err(),
            "tensor_count": self.tensors,
            "parameters": self.parameters,
            "types": self.types.iter().map(|(ty, total)| (ty.name().to_owned(), total.json())).collect::<Value>(),
            "tokenizer": self.tokenizer.as_ref().ok().map(tokenizer_json),
            "tokenizer_error": self.tokenizer.as_ref().err().map(ToString::to_string),
            "chat_template": self.chat_template,
            "memory": self.memory.as_ref().map(memory_json),
        })
    }
}

fn runs(
    file: &GgufFile,
    sizes: &Result<Hyperparameters, thalweg_rwkv::Error>,
) -> Result<(), String> {
    let hp = sizes.as_ref().map_err(ToString::to_string)?;
    if file.tensors().is_empty() {
        return Err("the file holds no weights".to_owned());
    }
    tensors::check(file, hp).map_err(|error| error.to_string())
}

fn count_types(file: &GgufFile) -> BTreeMap<TensorType, TypeTotal> {
    let mut types = BTreeMap::<TensorType, TypeTotal>::new();
    for tensor in file.tensors() {
        let total = types.entry(tensor.ty).or_default();
        total.tensors += 1;
        total.parameters += tensor.elements();
        total.bytes += tensor.bytes;
    }
    types
}

impl TypeTotal {
    fn json(&self) -> Value {
        json!({ "tensors": self.tensors, "parameters": self.parameters, "bytes": self.bytes })
    }
}

fn sizes_json(hp: &Hyperparameters) -> Value {
    json!({
        "layers": hp.layers,
        "width": hp.width,
        "heads": hp.heads,
        "head_size": hp.head_size,
        "ffn": hp.ffn,
        "vocab": hp.vocab,
        "ranks": {
            "decay": hp.ranks.decay,
            "iclr": hp.ranks.iclr,
            "value_residual": hp.ranks.value_residual,
            "gate": hp.ranks.gate,
        },
    })
}

fn tokenizer_json(tokenizer: &Tokenizer) -> Value {
    json!({
        "kind": tokenizer.kind().to_string(),
        "tokens": tokenizer.vocab_len(),
        "bos_id": tokenizer.bos_id(),
        "add_bos": tokenizer.add_bos(),
        "stop_ids": tokenizer.stop_ids(),
    })
}

fn memory_json(memory: &MemoryEstimate) -> Value {
    json!({
        "weights_bytes": memory.weights,
        "state_bytes": memory.state,
        "activations_bytes": memory.activations,
        "total_bytes": memory.total(),
    })
}

/// One line a subject.
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
        if let Ok(hp) = &self.sizes {
            line("sizes", sizes_text(hp))?;
            line("ranks", ranks_text(hp))?;
        }
        if let Some(context) = self.context {
            line("context", format!("trained on {context} tokens"))?;
        }
        line(
            "parameters",
            format!("{} in {} tensors", grouped(self.parameters), self.tensors),
        )?;
        for (ty, total) in &self.types {
            let text = format!("{} tensors, {}", total.tensors, mebibytes(total.bytes));
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

fn sizes_text(hp: &Hyperparameters) -> String {
    format!(
        "{} layers, width {}, {} heads of {}, feed-forward {}, vocabulary {}",
        hp.layers, hp.width, hp.heads, hp.head_size, hp.ffn, hp.vocab
    )
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
