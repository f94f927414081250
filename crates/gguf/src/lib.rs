//! GGUF files: strict, bounds-checked reading, block formats, a writer.
