//! Writes the steps of a forward pass into a plan.

use std::collections::HashMap;

use thalweg_gpu::{Binding, Context, Feature, Pipeline, Plan, PlanBuilder, Work, Workgroups};
use thalweg_shaders::kernels::{self, Kernel, Number};

use super::model::{Activations, GpuOptions};
use super::tuning::Tuning;
use crate::Error;

/// For how many tokens a plan is, and which kernels it uses for products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// At most so many tokens, one of [`kernels::Matvec::COLUMNS`].
    Few { columns: u32 },
    /// Up to so many tokens.
    Many { tokens: u32, matmul: MatmulKind },
}

/// What multiplies matrices with many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum MatmulKind {
    /// 32-bit floats, with so many threads a side of the workgroup.
    Exact { block_size: u32 },
    /// Operands of 16 bits with sums of 32, with so many threads a side of the workgroup.
    Half { block_size: u32 },
    /// Cooperative matrices of this size, for subgroups of that size.
    Coop { size: u32, subgroup: u32 },
}

impl Shape {
    /// The most tokens.
    pub(super) fn tokens(self) -> u32 {
        match self {
            Shape::Few { columns } => columns,
            Shape::Many { tokens, .. } => tokens,
        }
    }

    /// What the inputs of products are stored as.
    pub(super) fn operand(self) -> Number {
        match self {
            Shape::Few { .. } => Number::F32,
            Shape::Many { matmul, .. } => matmul.operand(),
        }
    }
}

impl MatmulKind {
    /// What operands are rounded to.
    pub(super) fn operand(self) -> Number {
        match self {
            MatmulKind::Exact { .. } => Number::F32,
            MatmulKind::Half { .. } | MatmulKind::Coop { .. } => Number::F16,
        }
    }
}

/// A plan in the making, and the kernels compiled for it.
pub(super) struct Recorder<'c> {
    context: &'c Context,
    pub(super) shape: Shape,
    /// What matrices meet in products.
    pub(super) activations: Activations,
    /// How products are divided.
    pub(super) tuning: Tuning,
    plan: PlanBuilder<'c>,
    pipelines: HashMap<Operation, Pipeline>,
}

/// What a dispatch does; the shape of the plan decides on the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Embedding(kernels::Embedding),
    LayerNorm(kernels::LayerNorm),
    NormMix(kernels::NormMix),
    Matvec(kernels::Matvec),
    Matmul(kernels::Matmul),
    MatmulDot4(kernels::MatmulDot4),
    MatmulCoop(kernels::MatmulCoop),
    FusedMatvec(kernels::FusedMatvec),
    TimeMixStep(kernels::TimeMixStep),
    AddParts(kernels::AddParts),
    RemovalKey,
    Wkv7,
    Wkv7Replay,
    Readout,
    HeadStep,
    Sample(kernels::SamplePass),
    SampleGuesses(kernels::GuessPass),
    /// What no model runs: an operation alone, to be measured.
    Unfused(kernels::Unfused),
    /// Likewise: next to nothing.
    Step,
}

impl<'c> Recorder<'c> {
    pub(super) fn new(
        context: &'c Context,
        shape: Shape,
        options: GpuOptions,
        label: &str,
    ) -> Recorder<'c> {
        Recorder {
            context,
            shape,
            activations: options.activations,
            tuning: options.tuning,
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
            let kernel = self.kernel(&operation)?;
            // SAFETY: the recorder binds buffers of the sizes that the kernels' parameters say, rows in `Rows` never
            // exceed the plan's, token ids are checked, and all loops are bounded by these parameters.
            let pipeline = unsafe { self.context.pipeline(&kernel) }?;
            self.pipelines.insert(operation.clone(), pipeline);
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

    /// The recurrence: on subgroups where the device's are large enough.
    pub(super) fn recurrence(&self) -> kernels::Wkv7 {
        kernels::Wkv7 {
            subgroup: self.has_subgroups(kernels::Wkv7::LANES),
        }
    }

    /// The readout.
    pub(super) fn readout(&self) -> kernels::Readout {
        kernels::Readout {
            output: self.shape.operand(),
        }
    }

    /// The step of sequences with one token each.
    pub(super) fn head_step(&self) -> kernels::HeadStep {
        kernels::HeadStep {
            output: self.shape.operand(),
        }
    }

    /// The workgroup that shares a row of so many vec4s or other pieces.
    pub(super) fn row_workgroup(&self, pieces: u32) -> kernels::RowWorkgroup {
        let limits = self.context.limits();
        let most = limits.workgroup_invocations.min(limits.workgroup_size[0]);
        let subgroup = self.has_subgroups(kernels::RowWorkgroup::LEAST_SUBGROUP);
        kernels::RowWorkgroup::sharing(pieces, most, subgroup)
    }

    /// Whether sums over so many invocations can be made by subgroup operations.
    pub(super) fn has_subgroups(&self, lanes: u32) -> bool {
        let [smallest, _] = self.context.adapter().subgroup_sizes;
        self.context.has(Feature::Subgroup) && smallest >= lanes
    }

    fn kernel(&self, operation: &Operation) -> Result<Kernel, Error> {
        Ok(match *operation {
            Operation::Embedding(embedding) => embedding.kernel(),
            Operation::LayerNorm(norm) => norm.kernel(),
            Operation::NormMix(norm) => norm.kernel(),
            Operation::AddParts(ref parts) => parts.kernel(),
            Operation::Matvec(ref product) => product.kernel(),
            Operation::Matmul(ref product) => product.kernel(),
            Operation::MatmulDot4(ref product) => product.kernel(),
            Operation::MatmulCoop(ref product) => product.kernel(),
            Operation::FusedMatvec(ref product) => product.kernel(),
            Operation::TimeMixStep(ref step) => step.kernel(),
            Operation::RemovalKey => kernels::RemovalKey.kernel(),
            Operation::Wkv7 => self.recurrence().kernel(),
            Operation::Wkv7Replay => kernels::Wkv7Replay.kernel(),
            Operation::Readout => self.readout().kernel(),
            Operation::HeadStep => self.head_step().kernel(),
            Operation::Sample(pass) => pass.kernel(),
            Operation::SampleGuesses(pass) => pass.kernel(),
            Operation::Unfused(ref unfused) => unfused.kernel(),
            Operation::Step => kernels::ProbeStep.kernel(),
        }?)
    }
}
