//! The description of a file, as far as the file allows one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use thalweg_engine::ChunkSize;
use thalweg_gguf::{GgufFile, Metadata, TensorInfo, TensorType};
use thalweg_rwkv::{Hyperparameters, MemoryEstimate, tensors};
use thalweg_tokenizer::{Error as TokenizerError, Tokenizer};

/// What is known of a file.
pub(super) struct Summary {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) version: u32,
    pub(super) name: Option<String>,
    pub(super) architecture: Option<String>,
    /// Sizes by their plain names, as files of any architecture announce them.
    pub(super) announced: Vec<(&'static str, u32)>,
    pub(super) sizes: Option<Hyperparameters>,
    /// Whether the model can be run, and if not, why.
    pub(super) runs: Result<(), String>,
    pub(super) tensors: usize,
    pub(super) parameters: u64,
    pub(super) types: BTreeMap<TensorType, TypeTotal>,
    pub(super) tokenizer: Result<Tokenizer, TokenizerError>,
    pub(super) chat_template: Option<&'static str>,
    pub(super) memory: Option<MemoryEstimate>,
}

/// Totals over the tensors of one type.
#[derive(Default)]
pub(super) struct TypeTotal {
    pub(super) tensors: u64,
    pub(super) parameters: u64,
    pub(super) bytes: u64,
}

impl Summary {
    pub(super) fn new(file: &GgufFile) -> Self {
        let metadata = file.metadata();
        let string = |key| metadata.opt_str(key).ok().flatten();
        let sizes = Hyperparameters::from_gguf(file);
        Self {
            path: file.path().display().to_string(),
            bytes: file.bytes_len(),
            version: file.version(),
            name: string("general.name").map(str::to_owned),
            architecture: string("general.architecture").map(str::to_owned),
            announced: announced(metadata),
            runs: runs(file, &sizes),
            tensors: file.tensors().len(),
            parameters: parameters(file, sizes.as_ref().ok()),
            types: count_types(file),
            tokenizer: Tokenizer::from_gguf(metadata),
            chat_template: string("tokenizer.chat_template").map(template_kind),
            memory: sizes
                .as_ref()
                .ok()
                .map(|hp| MemoryEstimate::new(file, hp, ChunkSize::default().tokens())),
            sizes: sizes.ok(),
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
            "sizes": self.sizes_json(),
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

/// Sizes that the metadata names under the keys common to all architectures.
fn announced(metadata: &Metadata) -> Vec<(&'static str, u32)> {
    const KEYS: [(&str, &str); 4] = [
        ("layers", "block_count"),
        ("width", "embedding_length"),
        ("ffn", "feed_forward_length"),
        ("context", "context_length"),
    ];
    let architecture = metadata
        .opt_str("general.architecture")
        .ok()
        .flatten()
        .unwrap_or_default();
    let size = |key| {
        metadata
            .opt_u32(&format!("{architecture}.{key}"))
            .ok()
            .flatten()
    };
    KEYS.iter()
        .filter_map(|(name, key)| Some((*name, size(key)?)))
        .collect()
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

/// Parameters that the model uses: some files carry placeholders beside them. All there are, for other models.
fn parameters(file: &GgufFile, sizes: Option<&Hyperparameters>) -> u64 {
    let Some(hp) = sizes else {
        return file.tensors().iter().map(TensorInfo::elements).sum();
    };
    tensors::needed(hp)
        .filter_map(|needed| file.tensor(&needed.name))
        .map(|tensor| tensor.info.elements())
        .sum()
}

fn template_kind(template: &str) -> &'static str {
    if template == "rwkv-world" {
        "rwkv-world"
    } else {
        "jinja"
    }
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

impl Summary {
    fn sizes_json(&self) -> Value {
        let mut json: Value = self
            .announced
            .iter()
            .map(|(name, size)| (name.to_string(), json!(size)))
            .collect();
        if let Some(hp) = &self.sizes {
            json["heads"] = json!(hp.heads);
            json["head_size"] = json!(hp.head_size);
            json["vocab"] = json!(hp.vocab);
            json["ranks"] = json!({
                "decay": hp.ranks.decay,
                "iclr": hp.ranks.iclr,
                "value_residual": hp.ranks.value_residual,
                "gate": hp.ranks.gate,
            });
        }
        json
    }
}
