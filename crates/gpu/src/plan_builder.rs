//! Makes plans: checks what is bound, gathers parameters, divides the work into submissions.

use std::collections::HashMap;
use std::sync::Mutex;

use thalweg_shaders::kernels::Binding as BindingKind;

use crate::buffer::Allocation;
use crate::plan::{Copy, Dispatch, Part, SUBMISSION_SECONDS, Submission};
use crate::{Buffer, Context, Error, Pipeline, Plan, ReadBuffer, Work};

/// What a dispatch binds to one of its kernel's bindings.
#[derive(Debug, Clone, Copy)]
pub enum Binding<'a> {
    /// A whole buffer.
    Buffer(&'a Buffer),
    /// A part of a buffer.
    Part {
        /// The buffer.
        buffer: &'a Buffer,
        /// Where the part begins, in bytes: a multiple of the device's storage offset alignment.
        offset: u64,
        /// How long it is, in bytes.
        bytes: u64,
    },
    /// Parameters that are the same in every replay; the plan keeps a copy.
    Uniform(&'a [u8]),
}

/// How many workgroups a dispatch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workgroups {
    /// A number of workgroups, folded into rows where it exceeds what one dimension holds: the kernel's linear number
    /// is `workgroup_id.x + workgroup_id.y * num_workgroups.x`, and workgroups at or beyond the given number, which
    /// fill the last row, have to do nothing.
    Linear(u32),
    /// A grid in x, y and z.
    Grid([u32; 3]),
}

impl Workgroups {
    /// The grid to dispatch if no dimension may exceed `limit`, or the extent that does.
    fn grid(self, limit: u32) -> Result<[u32; 3], u32> {
        let grid = match self {
            Workgroups::Linear(count) if count <= limit => [count, 1, 1],
            Workgroups::Linear(count) => {
                let rows = count.div_ceil(limit);
                // Rows of equal length idle less than full ones with a short one at the end.
                [count.div_ceil(rows), rows, 1]
            }
            Workgroups::Grid(grid) => grid,
        };
        match grid.into_iter().find(|extent| *extent > limit) {
            Some(extent) => Err(extent),
            None => Ok(grid),
        }
    }
}

/// A plan in the making: dispatches and copies in the order in which they are to run.
#[derive(Debug)]
pub struct PlanBuilder<'c> {
    context: &'c Context,
    label: String,
    steps: Vec<(Step, Work)>,
    /// The parameters of all dispatches, each at an aligned offset.
    uniforms: Vec<u8>,
    /// Where in them which parameters begin: equal ones, as those of layer after layer often are, lie there once, so
    /// that the device has them at hand.
    known_uniforms: HashMap<Vec<u8>, usize>,
}

#[derive(Debug)]
enum Step {
    Dispatch {
        pipeline: Pipeline,
        bindings: Vec<Bound>,
        grid: [u32; 3],
    },
    Copy(Copy),
}

/// A part of a storage buffer, or of the plan's uniform buffer if there is none.
#[derive(Debug)]
struct Bound {
    buffer: Option<wgpu::Buffer>,
    offset: u64,
    bytes: u64,
}

impl<'c> PlanBuilder<'c> {
    /// An empty plan. The label says in messages what it does: "the prefill of 256 tokens".
    pub fn new(context: &'c Context, label: &str) -> PlanBuilder<'c> {
        PlanBuilder {
            context,
            label: label.to_owned(),
            steps: Vec::new(),
            uniforms: Vec::new(),
            known_uniforms: HashMap::new(),
        }
    }

    /// Adds a dispatch, which sees what everything before it has written.
    pub fn dispatch(
        &mut self,
        pipeline: &Pipeline,
        bindings: &[Binding<'_>],
        workgroups: Workgroups,
        work: Work,
    ) -> Result<(), Error> {
        self.check_kinds(pipeline, bindings)?;
        let limit = self.context.limits().workgroups_per_dimension;
        let grid = workgroups.grid(limit).map_err(|extent| {
            self.beyond(
                pipeline,
                "workgroups per dimension",
                extent.into(),
                limit.into(),
            )
        })?;
        let bindings = bindings
            .iter()
            .map(|binding| self.bind(pipeline, binding))
            .collect::<Result<_, _>>()?;
        self.steps.push((
            Step::Dispatch {
                pipeline: pipeline.clone(),
                bindings,
                grid,
            },
            work,
        ));
        Ok(())
    }

    /// Adds a copy of `bytes` between two buffers. The offsets and `bytes` are multiples of four.
    pub fn copy(
        &mut self,
        from: &Buffer,
        from_offset: u64,
        to: &Buffer,
        to_offset: u64,
        bytes: u64,
    ) {
        let to = (to.wgpu(), to_offset, 0);
        self.push_copy(from, from_offset, to, bytes);
    }

    /// Adds a copy of `bytes` to a buffer that the host reads. The offsets and `bytes` are multiples of four.
    pub fn read_back(
        &mut self,
        from: &Buffer,
        from_offset: u64,
        to: &ReadBuffer,
        to_offset: u64,
        bytes: u64,
    ) {
        let to = (to.wgpu(), to_offset, 0);
        self.push_copy(from, from_offset, to, bytes);
    }

    /// Adds a copy of `bytes` to the beginning of a buffer that the host reads. In a run that
    /// [repeats](Plan::repeat) the plan it goes behind that of the time before; the buffer has room for all times.
    /// The offset and `bytes` are multiples of four.
    pub fn collect(&mut self, from: &Buffer, from_offset: u64, to: &ReadBuffer, bytes: u64) {
        let to = (to.wgpu(), 0, bytes);
        self.push_copy(from, from_offset, to, bytes);
    }

    /// Adds a copy to a buffer, an offset in it, and how much further it goes each time.
    fn push_copy(
        &mut self,
        from: &Buffer,
        from_offset: u64,
        (to, to_offset, stride): (&wgpu::Buffer, u64, u64),
        bytes: u64,
    ) {
        let copy = Copy {
            from: from.wgpu().clone(),
            from_offset,
            to: to.clone(),
            to_offset,
            stride,
            bytes,
        };
        self.steps.push((
            Step::Copy(copy),
            Work {
                flops: 0.0,
                bytes: 2.0 * bytes as f64,
            },
        ));
    }

    /// Makes the plan: binds everything, divides it into submissions, and encodes it once so that wgpu can object.
    pub fn build(self) -> Result<Plan, Error> {
        let context = self.context;
        let doing = format!("planning {}", self.label);
        let uniforms = self.upload_uniforms()?;
        let submissions = context.scoped(&doing, 0, || {
            let submissions = self.divide(uniforms.as_ref().map(Allocation::wgpu));
            submissions
                .iter()
                .for_each(|submission| drop(submission.encode(context, 0..1)));
            submissions
        })?;
        Ok(Plan {
            label: self.label,
            submissions,
            prepared: Mutex::default(),
            _uniforms: uniforms,
        })
    }

    fn divide(&self, uniforms: Option<&wgpu::Buffer>) -> Vec<Submission> {
        let mut submissions = vec![Submission::default()];
        for (step, work) in &self.steps {
            let is_full = submissions.last().is_some_and(|last| {
                !last.parts.is_empty()
                    && self.context.rate().seconds(last.work + *work) > SUBMISSION_SECONDS
            });
            if is_full {
                submissions.push(Submission::default());
            }
            if let Some(last) = submissions.last_mut() {
                last.work += *work;
                self.append(&mut last.parts, step, *work, uniforms);
            }
        }
        submissions
    }

    fn append(
        &self,
        parts: &mut Vec<Part>,
        step: &Step,
        work: Work,
        uniforms: Option<&wgpu::Buffer>,
    ) {
        match (step, parts.last_mut()) {
            (Step::Copy(copy), _) => parts.push(Part::Copy(copy.clone())),
            (
                Step::Dispatch {
                    pipeline,
                    bindings,
                    grid,
                },
                last,
            ) => {
                let bind_group = self.bind_group(pipeline, bindings, uniforms);
                let dispatch = Dispatch {
                    pipeline: pipeline.clone(),
                    bind_group,
                    grid: *grid,
                    bound_bytes: bindings.iter().map(|bound| bound.bytes).sum(),
                    work,
                };
                match last {
                    Some(Part::Pass(dispatches)) => dispatches.push(dispatch),
                    _ => parts.push(Part::Pass(vec![dispatch])),
                }
            }
        }
    }

    fn bind_group(
        &self,
        pipeline: &Pipeline,
        bindings: &[Bound],
        uniforms: Option<&wgpu::Buffer>,
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(bindings)
            .filter_map(|(binding, bound)| {
                let buffer = bound.buffer.as_ref().or(uniforms)?;
                let (offset, size) = (bound.offset, wgpu::BufferSize::new(bound.bytes));
                let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset,
                    size,
                });
                Some(wgpu::BindGroupEntry { binding, resource })
            })
            .collect();
        self.context
            .device()
            .create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(pipeline.name()),
                layout: pipeline.layout(),
                entries: &entries,
            })
    }

    fn upload_uniforms(&self) -> Result<Option<Allocation>, Error> {
        if self.uniforms.is_empty() {
            return Ok(None);
        }
        let label = format!("parameters of {}", self.label);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let allocation = Allocation::new(self.context, &label, self.uniforms.len() as u64, usage)?;
        self.context
            .write_bytes(allocation.wgpu(), 0, &self.uniforms)?;
        Ok(Some(allocation))
    }

    /// Checks that the bindings are those that the kernel has, and that none of them is read and written at once.
    fn check_kinds(&self, pipeline: &Pipeline, bindings: &[Binding<'_>]) -> Result<(), Error> {
        let kinds = pipeline.bindings();
        let is_uniform = |binding: &Binding<'_>| matches!(binding, Binding::Uniform(_));
        let fits = |(binding, kind): (&Binding<'_>, &BindingKind)| {
            is_uniform(binding) == (*kind == BindingKind::Uniform)
        };
        if kinds.len() != bindings.len() || !bindings.iter().zip(kinds).all(fits) {
            return Err(self.misuse(
                pipeline,
                format!("its bindings are {kinds:?}, but {bindings:?} were given"),
            ));
        }
        let of_kind = |wanted: BindingKind| {
            let bound = bindings
                .iter()
                .zip(kinds)
                .filter(move |(_, kind)| **kind == wanted);
            bound.filter_map(|(binding, _)| binding.buffer())
        };
        for written in of_kind(BindingKind::ReadWrite) {
            if of_kind(BindingKind::Read).any(|read| read.wgpu() == written.wgpu()) {
                return Err(self.misuse(
                    pipeline,
                    format!("{written:?} is bound for reading and for writing"),
                ));
            }
        }
        Ok(())
    }

    /// Takes the binding over, its parameters into the plan's uniform buffer.
    fn bind(&mut self, pipeline: &Pipeline, binding: &Binding<'_>) -> Result<Bound, Error> {
        let limits = self.context.limits();
        let (bound, limit, offered) = match *binding {
            Binding::Buffer(buffer) => {
                let bound = Bound {
                    buffer: Some(buffer.wgpu().clone()),
                    offset: 0,
                    bytes: buffer.bytes(),
                };
                (
                    bound,
                    "bytes per storage binding",
                    limits.storage_binding_bytes,
                )
            }
            Binding::Part {
                buffer,
                offset,
                bytes,
            } => {
                let bound = Bound {
                    buffer: Some(buffer.wgpu().clone()),
                    offset,
                    bytes,
                };
                (
                    bound,
                    "bytes per storage binding",
                    limits.storage_binding_bytes,
                )
            }
            Binding::Uniform(parameters) => {
                let alignment = limits.uniform_offset_alignment as usize;
                // WGSL rounds the size of a uniform struct up to its alignment, at most 16.
                let bytes = parameters.len().next_multiple_of(16);
                let bound = Bound {
                    buffer: None,
                    offset: self.place_uniform(parameters, bytes, alignment) as u64,
                    bytes: bytes as u64,
                };
                (
                    bound,
                    "bytes per uniform binding",
                    limits.uniform_binding_bytes,
                )
            }
        };
        if bound.bytes > offered {
            return Err(self.beyond(pipeline, limit, bound.bytes, offered));
        }
        Ok(bound)
    }

    /// Where in the uniform buffer the parameters lie, padded to `bytes`.
    fn place_uniform(&mut self, parameters: &[u8], bytes: usize, alignment: usize) -> usize {
        if let Some(offset) = self.known_uniforms.get(parameters) {
            return *offset;
        }
        let offset = self.uniforms.len().next_multiple_of(alignment);
        self.uniforms.resize(offset, 0);
        self.uniforms.extend_from_slice(parameters);
        self.uniforms.resize(offset + bytes, 0);
        self.known_uniforms.insert(parameters.to_vec(), offset);
        offset
    }

    fn beyond(&self, pipeline: &Pipeline, limit: &'static str, needed: u64, offered: u64) -> Error {
        let what = format!("kernel {} in {}", pipeline.name(), self.label);
        Error::Limit {
            what,
            limit,
            needed,
            offered,
            adapter: self.context.adapter().name.clone(),
        }
    }

    fn misuse(&self, pipeline: &Pipeline, message: String) -> Error {
        Error::Validation {
            doing: format!("planning {} with kernel {}", self.label, pipeline.name()),
            message,
        }
    }
}

impl<'a> Binding<'a> {
    fn buffer(&self) -> Option<&'a Buffer> {
        match *self {
            Binding::Buffer(buffer) | Binding::Part { buffer, .. } => Some(buffer),
            Binding::Uniform(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Workgroups;

    #[test]
    fn many_workgroups_are_folded_into_equal_rows() {
        assert_eq!(Workgroups::Linear(65_535).grid(65_535), Ok([65_535, 1, 1]));
        assert_eq!(Workgroups::Linear(65_536).grid(65_535), Ok([32_768, 2, 1]));
        assert_eq!(Workgroups::Linear(200_001).grid(65_535), Ok([50_001, 4, 1]));
        assert_eq!(Workgroups::Linear(17).grid(4), Err(5));
        assert_eq!(Workgroups::Grid([4, 9, 1]).grid(8), Err(9));
    }
}
