//! Whether two models speak of the same tokens.

use thalweg_tokenizer::Tokenizer;

use crate::Error;

/// Refuses a draft model whose tokens are not the model's, one by one. [`Engine::with_draft_model`](crate::Engine::with_draft_model)
/// does so, too; this is for asking before weights are loaded.
///
/// # Errors
///
/// [`Error::DraftVocabulary`] with the first token that differs.
pub fn check_draft_vocabulary(model: &Tokenizer, draft: &Tokenizer) -> Result<(), Error> {
    let tokens = model.vocab_len().max(draft.vocab_len()) as u32;
    let differs = |token: &u32| model.token_bytes(*token) != draft.token_bytes(*token);
    match (0..tokens).find(differs) {
        None => Ok(()),
        Some(token) => Err(Error::DraftVocabulary {
            token,
            model: describe(model, token),
            draft: describe(draft, token),
        }),
    }
}

fn describe(tokenizer: &Tokenizer, token: u32) -> String {
    let bytes = tokenizer.token_bytes(token);
    let bytes = bytes.map_or("nothing".to_owned(), |bytes| {
        format!("\"{}\"", bytes.escape_ascii())
    });
    let (kind, tokens) = (tokenizer.kind(), tokenizer.vocab_len());
    format!("{bytes} ({kind}, {tokens} tokens)")
}
