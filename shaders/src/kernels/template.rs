//! Fills in the WGSL templates.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

use crate::{Error, stable_hash};

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../wgsl/", $name)))),*]
    };
}

const TEMPLATES: &[(&str, &str)] = &templates![
    "activations.wgsl",
    "add_parts.wgsl",
    "embedding.wgsl",
    "encodings/common.wgsl",
    "encodings/f16.wgsl",
    "encodings/f32.wgsl",
    "encodings/k_scales.wgsl",
    "encodings/q4_k.wgsl",
    "encodings/q5_k.wgsl",
    "encodings/q6_k.wgsl",
    "encodings/q8_0.wgsl",
    "fused_matvec.wgsl",
    "half.wgsl",
    "half_weights.wgsl",
    "head_step.wgsl",
    "head_sum.wgsl",
    "jobs.wgsl",
    "layer_norm.wgsl",
    "links.wgsl",
    "matmul.wgsl",
    "matmul_coop.wgsl",
    "matmul_dot4.wgsl",
    "matvec.wgsl",
    "norm_mix.wgsl",
    "philox.wgsl",
    "probe_coop.wgsl",
    "probe_fma.wgsl",
    "probe_read.wgsl",
    "probe_step.wgsl",
    "readout.wgsl",
    "removal_key.wgsl",
    "replays.wgsl",
    "rounding.wgsl",
    "rows.wgsl",
    "sample.wgsl",
    "sample_bins.wgsl",
    "sample_count.wgsl",
    "sample_cut.wgsl",
    "sample_draw.wgsl",
    "sample_gather.wgsl",
    "sample_histogram.wgsl",
    "sample_keep.wgsl",
    "sample_occur.wgsl",
    "sample_scores.wgsl",
    "sample_search.wgsl",
    "sample_tokens.wgsl",
    "sequences.wgsl",
    "store_rounded.wgsl",
    "time_mix.wgsl",
    "time_mix_step.wgsl",
    "unfused_bonus.wgsl",
    "unfused_gate.wgsl",
    "unfused_group_norm.wgsl",
    "unfused_softmax.wgsl",
    "unfused_token_shift.wgsl",
    "wide.wgsl",
    "workgroup_sums.wgsl",
    "wkv7.wgsl",
    "wkv7_apply.wgsl",
    "wkv7_chunked.wgsl",
    "wkv7_prepare.wgsl",
    "wkv7_replay.wgsl",
    "wkv7_subgroup.wgsl",
];

static ENVIRONMENT: LazyLock<Result<Environment<'static>, minijinja::Error>> =
    LazyLock::new(|| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()?,
        );
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        for (name, source) in TEMPLATES {
            environment.add_template(name, source)?;
        }
        Ok(environment)
    });

/// Tells one set of templates from another: it changes whenever any of them does, and is the same on every machine.
pub fn templates_hash() -> u64 {
    let texts = TEMPLATES.iter().flat_map(|(name, source)| [*name, *source]);
    stable_hash(texts.map(str::as_bytes))
}

/// The WGSL of `kernel`, made from `template` with `values`.
pub(super) fn render(kernel: &str, template: &str, values: Value) -> Result<String, Error> {
    let rendered = match &*ENVIRONMENT {
        Ok(environment) => environment
            .get_template(template)
            .and_then(|template| template.render(values)),
        Err(error) => return Err(defect(kernel, error)),
    };
    rendered.map_err(|error| defect(kernel, &error))
}

fn defect(kernel: &str, error: &minijinja::Error) -> Error {
    Error::Template {
        kernel: kernel.to_owned(),
        message: format!("{error:#}"),
    }
}
