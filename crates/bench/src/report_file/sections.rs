//! The generated sections, in the order in which a new report has them.

use super::results::Results;
use super::{
    best, check, document, engine, grids, limits, operations, profile, rivals, runs, targets,
};

/// A part of the report that is generated.
pub(super) struct Section {
    /// What markers call it.
    pub(super) name: &'static str,
    heading: &'static str,
    write: fn(&Results) -> String,
    /// What makes a result that it would be about.
    command: &'static str,
}

pub(super) const SECTIONS: [Section; 17] = [
    Section {
        name: "claim",
        heading: "What it does",
        write: runs::claim,
        command: "thalweg bench -m model.gguf -o json",
    },
    Section {
        name: "runs",
        heading: "What was measured on what",
        write: runs::runs,
        command: "thalweg bench -m model.gguf -o json",
    },
    Section {
        name: "check",
        heading: "Is it right?",
        write: check::check,
        command: "thalweg bench -m model.gguf --check -o json",
    },
    Section {
        name: "prompts",
        heading: "Prompts, the best of each length",
        write: best::prompts,
        command: "thalweg bench -m model.gguf --prefill 64,256,512,1024,2048 --chunk-size '64..1024*2' -o json",
    },
    Section {
        name: "decoding",
        heading: "Decoding",
        write: best::decoding,
        command: "thalweg bench -m model.gguf --decode 128 --activations f32,q8 -o json",
    },
    Section {
        name: "chunk-sizes",
        heading: "Chunk size",
        write: grids::chunk_sizes,
        command: "thalweg bench -m model.gguf --prefill 256,512 --chunk-size '16..512*2' -o json",
    },
    Section {
        name: "block-sizes",
        heading: "BLOCK_SIZE",
        write: grids::block_sizes,
        command: "thalweg bench -m model.gguf --prefill 256,512 --chunk-size '64..512*2' --block-size 8,16,32 --precision exact -o json",
    },
    Section {
        name: "sequences",
        heading: "Several sequences",
        write: grids::sequences,
        command: "thalweg bench -m model.gguf --prefill 0 --decode 32 --parallel 1,8,32,64,256 -o json",
    },
    Section {
        name: "engine",
        heading: "The engine",
        write: engine::engine,
        command: "engine-figures -m model.gguf --json",
    },
    Section {
        name: "limits",
        heading: "What the devices do at the most",
        write: limits::limits,
        command: "thalweg bench --limits --prefill 0 --decode 0 -o json",
    },
    Section {
        name: "breakdown",
        heading: "Where the time goes",
        write: profile::breakdown,
        command: "thalweg profile -m model.gguf -o json",
    },
    Section {
        name: "operations",
        heading: "Small operations",
        write: operations::operations,
        command: "thalweg bench --ops -m model.gguf -o json",
    },
    Section {
        name: "pictures",
        heading: "Pictures",
        write: runs::pictures,
        command: "thalweg bench --report FILE --plot DIR",
    },
    Section {
        name: "targets",
        heading: "What was to be reached",
        write: targets::targets,
        command: "thalweg bench -m model.gguf -o json",
    },
    Section {
        name: "rivals",
        heading: "Others",
        write: rivals::rivals,
        command: "llama-bench -m model.gguf -p 64,256,512,1024 -n 128 -o json",
    },
    Section {
        name: "failed",
        heading: "What failed",
        write: runs::failed,
        command: "thalweg bench -m model.gguf --check -o json",
    },
    Section {
        name: "missing",
        heading: "What was not measured",
        write: runs::missing,
        command: "thalweg bench -m model.gguf -o json",
    },
];

impl Section {
    /// What stands between its markers.
    pub(super) fn text(&self, results: &Results) -> String {
        let written = (self.write)(results);
        match written.is_empty() {
            true => format!("No raw result is about this; `{}` makes one.", self.command),
            false => written,
        }
    }
}

/// A report with all sections, each empty.
pub(super) fn skeleton() -> String {
    let mut text = "# Results\n\nMedians of samples, in tokens a second. What stands between markers is generated from raw results by\n\
        `thalweg bench --report FILE --results DIR`; all else is written by people.\n"
        .to_owned();
    for Section { name, heading, .. } in &SECTIONS {
        text += &format!(
            "\n## {heading}\n\n{}\n\n{}\n",
            document::beginning(name),
            document::END
        );
    }
    text
}
