//! Tokenizers of RWKV GGUF files: World byte trie, byte-level BPE, streaming decode, chat templates.
