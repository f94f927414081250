//! From the flags to an engine that writes one text at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use thalweg_engine::{
    ChunkSize, Ending, Engine, EngineOptions, Error, Handle, PrefixCache, Request, SamplerSettings,
    Speculation, Until,
};
use thalweg_rwkv::{CpuBatch, GpuBatch};
use thalweg_tokenizer::Tokenizer;

use super::Kernels;
use super::batch::{AnySlots, BatchModel};
use crate::failure::Failure;
use crate::prompt_cache::Warnings;
use crate::{interrupt, output};

/// An engine that works on one text, on the thread that asks for it: so it waits where nobody reads what it writes.
pub(crate) struct Writer {
    engine: AnyEngine,
    /// Most tokens of a prompt that are read at once.
    chunk: usize,
    speculation: Speculation,
    /// What computes, for summaries.
    pub(crate) device: String,
    interrupt: &'static AtomicBool,
    warnings: Warnings,
    _kernels: Option<Kernels>,
}

enum AnyEngine {
    Cpu(Box<Engine<CpuBatch>>),
    Gpu(Box<Engine<GpuBatch>>),
}

/// A text that is being written. Dropping it ends it.
pub(crate) struct Writing<'a> {
    writer: &'a mut Writer,
    handle: Handle,
    /// Tokens of the prompt.
    prompt: usize,
}

impl BatchModel {
    /// An engine that works on one request at a time. From here on Ctrl-C ends that, and not the program.
    pub(crate) fn into_writer(
        self,
        tokenizer: Arc<Tokenizer>,
        cache: Option<PrefixCache>,
    ) -> Result<Writer, Failure> {
        let chunk = self.chunk();
        let options = EngineOptions {
            sequences: Some(1),
            step_tokens: Some(chunk),
            queue_tokens: usize::MAX,
            longest_reply: usize::MAX,
            ..EngineOptions::default()
        };
        let warnings = Warnings::of(cache.as_ref());
        let engine = match self.slots {
            AnySlots::Cpu(slots) => {
                AnyEngine::Cpu(Box::new(slots.engine(tokenizer, cache, options)?))
            }
            AnySlots::Gpu(slots) => {
                AnyEngine::Gpu(Box::new(slots.engine(tokenizer, cache, options)?))
            }
        };
        Ok(Writer {
            engine,
            chunk,
            speculation: self.speculation,
            device: self.device,
            interrupt: interrupt::watch(),
            warnings,
            _kernels: self.kernels,
        })
    }

    /// Tokens of a single prompt to read at once: as many as a device takes, unless told.
    fn chunk(&self) -> usize {
        let most = self.batch().largest_step();
        let suitable = match self.slots {
            AnySlots::Cpu(_) => ChunkSize::default().tokens(),
            AnySlots::Gpu(_) => most,
        };
        self.chunk_size
            .map_or(suitable, ChunkSize::tokens)
            .min(most)
    }
}

impl Writer {
    /// Begins a text after a prompt.
    pub(crate) fn begin(
        &mut self,
        prompt: Vec<u32>,
        sampler: SamplerSettings,
        until: Until,
    ) -> Result<Writing<'_>, Failure> {
        let tokens = prompt.len();
        let handle = self.engine.submit(Request {
            sampler,
            until,
            speculation: self.speculation,
            ..Request::new(prompt)
        })?;
        Ok(Writing {
            writer: self,
            handle,
            prompt: tokens,
        })
    }
}

impl AnyEngine {
    fn submit(&self, request: Request) -> Result<Handle, Error> {
        match self {
            AnyEngine::Cpu(engine) => engine.submit(request),
            AnyEngine::Gpu(engine) => engine.submit(request),
        }
    }

    fn step(&mut self) -> bool {
        match self {
            AnyEngine::Cpu(engine) => engine.step(),
            AnyEngine::Gpu(engine) => engine.step(),
        }
    }
}

impl Writing<'_> {
    /// Reads the prompt, with a bar that says what is being done if that takes several steps.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] if Ctrl-C ended it. What else goes wrong is told by [`write`](Writing::write).
    pub(crate) fn read_prompt(&mut self, doing: &'static str) -> Result<(), Failure> {
        let bar = output::progress(self.prompt, self.writer.chunk, doing);
        while self.step() && !self.is_prompt_read() {
            bar.set_position(self.handle.prompt_read() as u64);
        }
        bar.finish_and_clear();
        self.writer.warnings.show();
        match self.is_interrupted() && !self.is_prompt_read() {
            true => Err(Failure::Interrupted),
            false => Ok(()),
        }
    }

    fn is_prompt_read(&self) -> bool {
        self.handle.prompt_read() == self.prompt
    }

    /// Hands the text to `show` as it comes, in whole characters. Ctrl-C ends it.
    pub(crate) fn write(
        mut self,
        mut show: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<Ending, Failure> {
        loop {
            if let Poll::Ready(Some(token)) = self.handle.try_next() {
                match token?.text.as_str() {
                    "" => {}
                    text => show(text)?,
                }
            } else if let Some(ending) = self.handle.ending() {
                return Ok(ending.clone());
            } else {
                self.step();
            }
        }
    }

    /// Has the engine make a step. Ctrl-C ends the prompt at once and the text with the next token, so that what is written
    /// need not be read again. Says whether there is more to do.
    fn step(&mut self) -> bool {
        match (self.is_interrupted(), self.is_prompt_read()) {
            (false, _) => {}
            (true, false) => self.handle.cancel(),
            (true, true) => self.handle.stop(),
        }
        self.writer.engine.step()
    }

    fn is_interrupted(&self) -> bool {
        self.writer.interrupt.load(Ordering::Relaxed)
    }
}
