//! `thalweg tokenize`: text to token ids and back.

use serde_json::json;
use thalweg_tokenizer::Tokenizer;

use crate::failure::Failure;
use crate::flags::{ModelPath, Text, TokenIds};
use crate::output;

const AFTER_HELP: &str = "\
The text is taken byte for byte. World vocabularies take any bytes, BPE vocabularies need UTF-8. Names of special \
tokens in the text are ordinary text. Weights are not needed: a vocabulary-only file will do.

Examples:
  thalweg tokenize -p \"Once upon a time\"
  thalweg tokenize -m model.gguf --json < text.txt
  thalweg tokenize --decode 33,45,2";

/// Turn text into token ids, or back
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelPath,

    #[command(flatten)]
    text: Text,

    /// Put the begin-of-text token first
    #[arg(long, conflicts_with = "decode")]
    bos: bool,

    /// Print {"ids":[...]} instead of ids with blanks between them
    #[arg(long, conflicts_with = "decode")]
    json: bool,

    /// Write the exact bytes of these tokens instead, separated by commas or white space
    #[arg(long, value_name = "IDS", conflicts_with_all = ["prompt", "file"])]
    decode: Option<TokenIds>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(ids) = &args.decode {
        let tokenizer = Tokenizer::from_gguf(args.model.open()?.metadata())?;
        return output::write(&tokenizer.decode(&ids.0)?);
    }
    let text = args.text.read()?;
    let tokenizer = Tokenizer::from_gguf(args.model.open()?.metadata())?;
    let mut ids = Vec::new();
    if args.bos {
        ids.push(begin_of_text(&tokenizer)?);
    }
    ids.extend(tokenizer.encode(&text)?);
    if args.json {
        return output::line(json!({ "ids": ids }));
    }
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    output::line(ids.join(" "))
}

fn begin_of_text(tokenizer: &Tokenizer) -> Result<u32, Failure> {
    tokenizer.bos_id().ok_or_else(|| {
        Failure::Model(
            "--bos: the model file names no begin-of-text token, expected tokenizer.ggml.bos_token_id; leave out --bos"
                .to_owned(),
        )
    })
}
