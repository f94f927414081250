//! Generation: chunked prefill, sampling, streaming, perplexity.
