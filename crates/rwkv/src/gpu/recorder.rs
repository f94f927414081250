//! Writes the steps of a forward pass into a plan.

use std::collections::HashMap;

use thalweg_gpu::{Binding, Context, Pipeline, Plan, PlanBuilder, Work, Workgroups};
use thalweg_shaders::kernels::Kernel;
use thalweg_shaders::{Encoding, kernels};

use crate::Error;

/// For how many tokens a plan is, and which kernels it uses for products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// At most so many tokens, one of [`kernels::Matvec::COLUMNS`].
    Few { columns: u32 },
    /// Up to a chunk of tokens.
    Many { tokens: u32, block_size: u32 },
}

impl Shape {
    /// The most tokens.
    pub(super) fn tokens(self) -> u32 {
        match self {
            Shape::Few { columns } => columns,
            Shape::Many { tokens, .. } => tokens,
        }
    }
}

/// A plan in the making, and the kernels compiled for it.
pub(super) struct Recorder<'c> {
    context: &'c Context,
    pub(super) shape: Shape,
    plan: PlanBuilder<'c>,
    pipelines: HashMap<Operation, Pipeline>,
}

/// What a dispatch does; the shape of the plan decides on the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Embedding(Encoding),
    LayerNorm,
    ShiftedLayerNorm,
    Product { encoding: Encoding, lanes: u32 },
    RemovalKey,
    Wkv7,
    Readout,
}

impl<'c> Recorder<'c> {
    pub(super) fn new(context: &'c Context, shape: Shape, label: &str) -> Recorder<'c> {
        Recorder {
            context,
            shape,
            plan: PlanBuilder::new(context, label),
            pipelines: HashMap::new(),
        }
    }

    pub(super) fn context(&self) -> &'c Context {
        self.context
    }

    /// Adds a dispatch. The bindings are those that the kernel's documentation lists.
    pub(super) fn dispatch(
        &mut self,
        operation: Operation,
        bindings: &[Binding<'_>],
        workgroups: Workgroups,
        work: Work,
    ) -> Result<(), Error> {
        if !self.pipelines.contains_key(&operation) {
            let kernel = self.kernel(operation)?;
            // SAFETY: the recorder binds buffers of the sizes that the kernels' parameters say, rows in `Rows` never
            // exceed the plan's, token ids are checked, and all loops are bounded by these parameters.
            let pipeline = unsafe { self.context.pipeline(&kernel) }?;
            self.pipelines.insert(operation, pipeline);
        }
        Ok(self
            .plan
            .dispatch(&self.pipelines[&operation], bindings, workgroups, work)?)
    }

    /// The plan, to which nothing but copies is left to be added.
    pub(super) fn plan(&mut self) -> &mut PlanBuilder<'c> {
        &mut self.plan
    }

    pub(super) fn build(self) -> Result<Plan, Error> {
        Ok(self.plan.build()?)
    }

    /// Lanes a row of the recurrence's state: a single token is over before lanes get into each other's way.
    pub(super) fn recurrence(&self) -> kernels::Wkv7 {
        match self.shape {
            Shape::Few { .. } => kernels::Wkv7 { lanes: 4 },
            Shape::Many { .. } => kernels::Wkv7 { lanes: 1 },
        }
    }

    fn kernel(&self, operation: Operation) -> Result<Kernel, Error> {
        Ok(match operation {
            Operation::Embedding(encoding) => kernels::Embedding { encoding }.kernel(),
            Operation::LayerNorm => kernels::LayerNorm { shift: false }.kernel(),
            Operation::ShiftedLayerNorm => kernels::LayerNorm { shift: true }.kernel(),
            Operation::RemovalKey => kernels::RemovalKey.kernel(),
            Operation::Wkv7 => self.recurrence().kernel(),
            Operation::Readout => kernels::Readout.kernel(),
            Operation::Product { encoding, lanes } => match self.shape {
                Shape::Few { columns } => kernels::Matvec {
                    encoding,
                    columns,
                    lanes,
                }
                .kernel(),
                Shape::Many { block_size, .. } => kernels::Matmul {
                    encoding,
                    block_size,
                }
                .kernel(),
            },
        }?)
    }
}
