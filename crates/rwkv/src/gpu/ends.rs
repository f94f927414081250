//! The steps before and after the layers: embedding, and the output matrix.

use bytemuck::bytes_of;
use thalweg_gpu::{Binding, Work, Workgroups};
use thalweg_shaders::VEC4_BYTES;
use thalweg_shaders::kernels::{Embedding, EmbeddingParams, LayerNorm, LayerNormParams, Number};

use super::activations::Activations;
use super::products::{Operands, Product, Rows};
use super::recorder::{Operation, Recorder};
use super::weights::Ends;
use crate::{Error, Hyperparameters};

impl Recorder<'_> {
    /// From token ids to the residual stream: the embedding's rows, normed.
    pub(super) fn embed(
        &mut self,
        hp: &Hyperparameters,
        ends: &Ends,
        buffers: &Activations,
    ) -> Result<(), Error> {
        let encoding = ends.embedding.encoding;
        let width = hp.width as u32 / 4;
        let kernel = Embedding {
            encoding,
            width,
            workgroup: self.row_workgroup(Embedding::pieces(width)),
        };
        for part in &ends.embedding.parts {
            let params = EmbeddingParams {
                first_token: part.first_row as u32,
                token_count: part.rows as u32,
                row_stride: (encoding.row_bytes(hp.width) / VEC4_BYTES) as u32,
                weight: 0,
                bias: width,
                epsilon: hp.layer_norm_eps,
            };
            let bindings = [
                buffers.rows(),
                Binding::Uniform(bytes_of(&params)),
                ends.norms(),
                buffers.tokens(),
                ends.storage.binding(part),
                Binding::Buffer(&buffers.x),
                Binding::Buffer(&buffers.embedded),
            ];
            let workgroups = Workgroups::Grid(kernel.workgroups(self.shape.tokens()));
            let work = self.row_work(hp.width);
            self.dispatch(Operation::Embedding(kernel), &bindings, workgroups, work)?;
        }
        Ok(())
    }

    /// From the residual stream to the logits of the head's rows.
    pub(super) fn head(
        &mut self,
        hp: &Hyperparameters,
        ends: &Ends,
        buffers: &Activations,
    ) -> Result<(), Error> {
        let kernel = LayerNorm {
            picked: true,
            output: self.shape.operand(),
            workgroup: self.row_workgroup(hp.width as u32 / 4),
        };
        let output_norm = 2 * hp.width as u32 / 4;
        let params = norm_params(hp, output_norm);
        let bindings = [
            buffers.head_rows(),
            Binding::Uniform(bytes_of(&params)),
            ends.norms(),
            Binding::Buffer(&buffers.x),
            Binding::Buffer(&buffers.head_normed),
            buffers.picks(),
        ];
        self.norm_rows(kernel, hp, &bindings)?;
        let operands = Operands {
            rows: buffers.head_rows(),
            vectors: ends.norms(),
            storage: &ends.storage,
            input: &buffers.head_normed,
            output: &buffers.logits,
            stored_as: Number::F32,
            parts: &buffers.parts,
        };
        let input = Rows {
            first: 0,
            stride: hp.width,
        };
        let output = Rows {
            first: 0,
            stride: hp.vocab,
        };
        self.products(operands, &[Product::new(&ends.output, input, output)])
    }

    /// Norms rows of the first buffer into the second. The norm's vectors are a binding and the weight's first vec4 in
    /// it, which the bias follows.
    pub(super) fn layer_norm(
        &mut self,
        hp: &Hyperparameters,
        rows: Binding<'_>,
        norm: (Binding<'_>, u32),
        [from, to]: [&thalweg_gpu::Buffer; 2],
    ) -> Result<(), Error> {
        let (vectors, weight) = norm;
        let params = norm_params(hp, weight);
        let bindings = [
            rows,
            Binding::Uniform(bytes_of(&params)),
            vectors,
            Binding::Buffer(from),
            Binding::Buffer(to),
        ];
        let kernel = LayerNorm {
            picked: false,
            output: Number::F32,
            workgroup: self.row_workgroup(hp.width as u32 / 4),
        };
        self.norm_rows(kernel, hp, &bindings)
    }

    fn norm_rows(
        &mut self,
        kernel: LayerNorm,
        hp: &Hyperparameters,
        bindings: &[Binding<'_>],
    ) -> Result<(), Error> {
        let workgroups = Workgroups::Grid(kernel.workgroups(self.shape.tokens()));
        let work = self.row_work(hp.width);
        self.dispatch(Operation::LayerNorm(kernel), bindings, workgroups, work)
    }

    /// The work of a step that goes over rows of `numbers` a few times.
    pub(super) fn row_work(&self, numbers: usize) -> Work {
        let numbers = f64::from(self.shape.tokens()) * numbers as f64;
        Work {
            flops: 10.0 * numbers,
            bytes: 12.0 * numbers,
        }
    }
}

/// Those of a norm whose weight begins at vec4 `weight` in vectors, and is followed by the bias.
fn norm_params(hp: &Hyperparameters, weight: u32) -> LayerNormParams {
    let width = hp.width as u32 / 4;
    LayerNormParams {
        width,
        weight,
        bias: weight + width,
        epsilon: hp.layer_norm_eps,
    }
}
