//! A model whose weights are on the device.

use std::ops::ControlFlow;
use std::sync::Arc;

use thalweg_gguf::GgufFile;
use thalweg_gpu::{Context, Feature, Limits};
use thalweg_shaders::SPAN;
use thalweg_shaders::kernels::{HEAD_SIZE, Number};

use super::activations::Activations as Buffers;
use super::recorder::MatmulKind;
use super::tuning::Tuning;
use super::upload::Progress;
use super::weights::{Source, Weights};
use crate::{Error, Hyperparameters, tensors};

/// How the model is to be run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuOptions {
    /// How the work is divided.
    pub tuning: Tuning,
    /// The arithmetic of products with many tokens.
    pub precision: Precision,
    /// What matrices meet in products, but for those on cooperative matrices.
    pub activations: Activations,
}

/// The arithmetic of products with many tokens where [`Activations`] does not round further; for a single token it is
/// that of [`Precision::Exact`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats throughout.
    #[default]
    Exact,
    /// Operands rounded to 16-bit floats, sums in 32 bits, on cooperative matrices where the device has them. A device
    /// without 16-bit floats computes exactly.
    Fast,
}

/// What matrices meet in products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Activations {
    /// Floats: of 32 bits for a single token, as [`Precision`] has them for many.
    #[default]
    F32,
    /// Where the matrix is one of integers, 8-bit integers with a scale for every 16, as
    /// [`twins::quantise`](thalweg_shaders::twins::quantise) rounds them. A device without integer dot products, or with
    /// too little workgroup memory, keeps floats; so do products on cooperative matrices, and those with 2 to 4 tokens.
    Q8,
}

/// A model on the device. It holds no sequence and can serve several, each a [`GpuSession`](super::GpuSession).
#[derive(Debug)]
pub struct GpuModel {
    pub(super) context: Arc<Context>,
    pub(super) hp: Hyperparameters,
    pub(super) weights: Arc<Weights>,
    pub(super) options: GpuOptions,
}

impl GpuModel {
    /// Checks `file` and uploads its tensors. The file is not needed afterwards.
    ///
    /// # Errors
    /// The file is not as it should be; the options are not ones that the device can run; errors of the device, above
    /// all out of memory.
    pub fn load(
        context: Arc<Context>,
        file: &GgufFile,
        options: GpuOptions,
    ) -> Result<GpuModel, Error> {
        GpuModel::load_with_progress(context, file, options, &mut |_| ControlFlow::Continue(()))
    }

    /// The same, telling `on_progress` from time to time how far it has come; breaking there ends it.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if `on_progress` breaks, and those of [`GpuModel::load`].
    pub fn load_with_progress(
        context: Arc<Context>,
        file: &GgufFile,
        options: GpuOptions,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<GpuModel, Error> {
        let limits = *context.limits();
        GpuModel::load_within(context, file, options, &limits, on_progress)
    }

    /// Loads the weights in a way that would suit a device with narrower limits, too.
    fn load_within(
        context: Arc<Context>,
        file: &GgufFile,
        options: GpuOptions,
        limits: &Limits,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<GpuModel, Error> {
        let hp = Hyperparameters::from_gguf(file)?;
        tensors::check(file, &hp)?;
        check_head_size(file, &hp)?;
        options.tuning.check(&hp, context.adapter())?;
        let source = Source {
            context: &context,
            limits,
            file,
            hp: &hp,
            halves: matmul_kind(&context, &hp, options).operand() == Number::F16,
        };
        let weights = Weights::load(source, on_progress)?;
        Ok(GpuModel {
            context,
            hp,
            weights: Arc::new(weights),
            options,
        })
    }

    /// The same model, its weights shared with this one, with its work divided in another way.
    ///
    /// # Errors
    /// [`Error::Setting`] if the device cannot do it.
    pub fn with_tuning(&self, tuning: Tuning) -> Result<GpuModel, Error> {
        tuning.check(&self.hp, self.context.adapter())?;
        Ok(GpuModel {
            context: Arc::clone(&self.context),
            hp: self.hp.clone(),
            weights: Arc::clone(&self.weights),
            options: GpuOptions {
                tuning,
                ..self.options
            },
        })
    }

    /// The same model, its weights shared with this one, with other activations. Weights do not depend on them.
    pub fn with_activations(&self, activations: Activations) -> GpuModel {
        GpuModel {
            context: Arc::clone(&self.context),
            hp: self.hp.clone(),
            weights: Arc::clone(&self.weights),
            options: GpuOptions {
                activations,
                ..self.options
            },
        }
    }

    /// The most tokens of a step on a device with such limits.
    pub fn largest_chunk(hp: &Hyperparameters, limits: &Limits) -> usize {
        Buffers::largest_capacity(hp, limits)
    }

    /// The device.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Sizes of the model.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hp
    }

    /// The arithmetic that the device is up to.
    pub fn precision(&self) -> Precision {
        match self.matmul().operand() {
            Number::F32 => Precision::Exact,
            Number::F16 => Precision::Fast,
        }
    }

    /// What multiplies matrices with many tokens.
    pub(super) fn matmul(&self) -> MatmulKind {
        matmul_kind(&self.context, &self.hp, self.options)
    }

    /// How it is run.
    pub fn options(&self) -> GpuOptions {
        self.options
    }
}

/// What multiplies matrices with many tokens: in precision fast cooperative matrices, if the device has them in a size that
/// its subgroups can always hold, or else 16-bit floats.
pub(super) fn matmul_kind(
    context: &Context,
    hp: &Hyperparameters,
    options: GpuOptions,
) -> MatmulKind {
    let block_size = options.tuning.block_size;
    // Rows that were padded would need pads of their own in 16 bits.
    if options.precision == Precision::Exact || !hp.ffn.is_multiple_of(SPAN) {
        return MatmulKind::Exact { block_size };
    }
    let adapter = context.adapter();
    let [smallest, subgroup] = adapter.subgroup_sizes;
    match adapter.coop_size {
        Some(size) if context.has(Feature::Coop) && smallest == subgroup => {
            MatmulKind::Coop { size, subgroup }
        }
        _ if context.has(Feature::F16) => MatmulKind::Half { block_size },
        _ => MatmulKind::Exact { block_size },
    }
}

fn check_head_size(file: &GgufFile, hp: &Hyperparameters) -> Result<(), Error> {
    if hp.head_size == HEAD_SIZE as usize {
        return Ok(());
    }
    Err(Error::Hyperparameter {
        path: file.path().to_owned(),
        key: "rwkv7.wkv.head_size".to_owned(),
        found: hp.head_size.to_string(),
        expected: format!("{HEAD_SIZE} on a GPU (--backend cpu takes any)"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::GpuSession;
    use super::*;
    use crate::{Session, Wanted};

    /// Logits of a prompt, and of a token after it.
    fn logits(model: GpuModel) -> [Vec<f32>; 2] {
        let mut session = GpuSession::new(Arc::new(model)).unwrap();
        let tokens: Vec<u32> = (0..24).map(|index| index * 7919 % 512).collect();
        let prompt = session.forward(&tokens, Wanted::All).unwrap();
        let next = session.forward(&tokens[..1], Wanted::Last).unwrap();
        [prompt, next]
    }

    /// Root of the summed squares of the differences over that of `expected`.
    fn relative_rms(found: &[f32], expected: &[f32]) -> f32 {
        let squares = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| x * x).sum::<f32>();
        let differences = squares(&mut found.iter().zip(expected).map(|(a, b)| a - b));
        (differences / squares(&mut expected.iter().copied())).sqrt()
    }

    #[test]
    fn tensors_that_no_binding_can_hold_are_split() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/synth-tiny-q4_k_m.gguf"
        );
        let file = GgufFile::open(path.as_ref()).unwrap();
        let context = Arc::new(Context::of_any_kind().unwrap());
        let options = GpuOptions {
            tuning: Tuning {
                chunk: 32,
                ..Tuning::default()
            },
            ..GpuOptions::default()
        };
        let narrow = Limits {
            storage_binding_bytes: 40_000,
            buffer_bytes: 150_000,
            ..*context.limits()
        };
        let whole = GpuModel::load(Arc::clone(&context), &file, options).unwrap();
        let mut told = Vec::new();
        let mut on_progress = |progress: Progress| {
            told.push(progress);
            ControlFlow::Continue(())
        };
        let split =
            GpuModel::load_within(context, &file, options, &narrow, &mut on_progress).unwrap();
        assert!(told.is_sorted_by_key(|progress| progress.done_bytes));
        let last = told[told.len() - 1];
        assert_eq!(last.done_bytes, last.total_bytes);
        assert_eq!(whole.weights.ends.embedding.parts.len(), 1);
        assert!(split.weights.ends.embedding.parts.len() > 1);
        assert!(split.weights.layers[1].ffn_key.parts.len() > 1);
        let [whole, split] = [logits(whole), logits(split)];
        assert!(whole[0] == split[0]);
        // Steps of one token are fused only where a layer's matrices lie together, and sum in another order then.
        let difference = relative_rms(&split[1], &whole[1]);
        assert!(difference < 2e-5, "{difference}");
    }
}
