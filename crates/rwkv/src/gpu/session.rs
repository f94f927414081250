//! One sequence on the device.

use std::collections::HashMap;
use std::sync::Arc;

use thalweg_gpu::{Binding, Buffer, Context, DispatchTime, Plan, PlanBuilder};
use thalweg_shaders::kernels::{Matvec, Rows};

use super::GpuModel;
use super::activations::Activations;
use super::decode::TokenStep;
use super::layer::LayerStep;
use super::recorder::{MatmulKind, Recorder, Shape};
use crate::{Error, Hyperparameters, Session, State, Wanted};

/// One sequence read by a [`GpuModel`], which it may share with others.
#[derive(Debug)]
pub struct GpuSession {
    pub(super) model: Arc<GpuModel>,
    pub(super) buffers: Activations,
    pub(super) state: DeviceState,
    /// The sequence is to start anew, but the device's state has not been cleared.
    reset_is_due: bool,
    /// One for each kind of step met so far, of which there are few.
    plans: HashMap<Step, Plan>,
}

/// What a plan does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Tokens through all layers.
    Layers(Shape),
    /// The same, and the last token's logits.
    LayersAndLast(Shape),
    /// Logits of tokens that have passed the layers.
    Head(Shape),
}

impl GpuSession {
    /// A sequence at its start.
    ///
    /// # Errors
    /// Errors of the device, above all out of memory.
    pub fn new(model: Arc<GpuModel>) -> Result<GpuSession, Error> {
        let buffers = Activations::new(
            &model.context,
            &model.hp,
            model.options.tuning.chunk as usize,
        )?;
        let state = DeviceState::new(&model.context, &model.hp)?;
        Ok(GpuSession {
            model,
            buffers,
            state,
            reset_is_due: false,
            plans: HashMap::new(),
        })
    }

    /// The model that reads it.
    pub fn model(&self) -> &Arc<GpuModel> {
        &self.model
    }

    /// Compiles and plans what reading `tokens` tokens takes, so that doing it for the first time takes no longer than
    /// ever after.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn prepare(&mut self, tokens: usize, wanted: Wanted) -> Result<(), Error> {
        let shape = self.shape(tokens.min(self.buffers.capacity));
        match wanted {
            Wanted::Nothing => self.plan(Step::Layers(shape)).map(drop),
            Wanted::Last => self.plan(Step::LayersAndLast(shape)).map(drop),
            Wanted::All => {
                let rows = tokens.min(self.buffers.head_capacity);
                let head = Step::Head(self.head_shape(rows));
                self.plan(Step::Layers(shape)).map(drop)?;
                self.plan(head).map(drop)
            }
        }
    }

    /// Reads `tokens`, at most a chunk, and says what each dispatch took on the device; nothing if the device has no
    /// timestamps. Dispatches that a timestamp follows cannot overlap, so all of them together take longer than a step.
    ///
    /// # Errors
    /// [`Error::Token`]; errors of the device.
    pub fn profile(&mut self, tokens: &[u32]) -> Result<Vec<DispatchTime>, Error> {
        self.check_tokens(tokens)?;
        self.begin()?;
        let tokens = &tokens[..tokens.len().min(self.buffers.capacity)];
        let step = Step::LayersAndLast(self.shape(tokens.len()));
        let last = Rows {
            count: 1,
            first: tokens.len().saturating_sub(1) as u32,
        };
        let context = Arc::clone(&self.model.context);
        self.buffers.write_inputs(&context, tokens, last)?;
        Ok(self.plan(step)?.profile(&context)?)
    }

    /// Reads at most a chunk of tokens.
    fn read_chunk(
        &mut self,
        tokens: &[u32],
        wanted: Wanted,
        logits: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let shape = self.shape(tokens.len());
        let last = Rows {
            count: 1,
            first: tokens.len() as u32 - 1,
        };
        self.buffers
            .write_inputs(&self.model.context, tokens, last)?;
        match wanted {
            Wanted::Nothing => self.run(Step::Layers(shape)),
            Wanted::Last => {
                self.run(Step::LayersAndLast(shape))?;
                self.read_logits(1, logits)
            }
            Wanted::All => {
                self.run(Step::Layers(shape))?;
                self.read_all_logits(tokens.len(), logits)
            }
        }
    }

    fn read_all_logits(&mut self, tokens: usize, logits: &mut Vec<f32>) -> Result<(), Error> {
        let capacity = self.buffers.head_capacity;
        for first in (0..tokens).step_by(capacity) {
            let count = capacity.min(tokens - first);
            let rows = Rows {
                count: count as u32,
                first: first as u32,
            };
            self.buffers.write_head_rows(&self.model.context, rows)?;
            self.run(Step::Head(self.head_shape(count)))?;
            self.read_logits(count, logits)?;
        }
        Ok(())
    }

    fn read_logits(&self, rows: usize, logits: &mut Vec<f32>) -> Result<(), Error> {
        let start = logits.len();
        logits.resize(start + rows * self.model.hp.vocab, 0.0);
        Ok(self
            .buffers
            .logits_read
            .read(&self.model.context, 0, &mut logits[start..])?)
    }

    fn run(&mut self, step: Step) -> Result<(), Error> {
        let context = Arc::clone(&self.model.context);
        let plan = self.plan(step)?;
        plan.run(&context)?;
        plan.prepare(&context); // while the device is busy
        Ok(())
    }

    fn plan(&mut self, step: Step) -> Result<&Plan, Error> {
        if !self.plans.contains_key(&step) {
            let plan = self.make_plan(step)?;
            self.plans.insert(step, plan);
        }
        Ok(&self.plans[&step])
    }

    fn make_plan(&self, step: Step) -> Result<Plan, Error> {
        let GpuModel {
            context,
            hp,
            weights,
            options,
        } = &*self.model;
        let (Step::Layers(shape) | Step::LayersAndLast(shape) | Step::Head(shape)) = step;
        let label = format!("a step of up to {} tokens", shape.tokens());
        let mut recorder = Recorder::new(context, shape, *options, &label);
        if !matches!(step, Step::Head(_)) {
            recorder.embed(hp, &weights.ends, &self.buffers)?;
            self.record_layers(&mut recorder)?;
        }
        if !matches!(step, Step::Layers(_)) {
            if matches!(step, Step::LayersAndLast(_)) {
                recorder.shape = ONE;
            }
            match recorder.shape {
                ONE if recorder.fuses(hp, weights) => {
                    recorder.fused_head(hp, &weights.ends, &self.buffers)?
                }
                _ => recorder.head(hp, &weights.ends, &self.buffers)?,
            }
            let rows = recorder
                .shape
                .tokens()
                .min(self.buffers.head_capacity as u32);
            let bytes = 4 * u64::from(rows) * hp.vocab as u64;
            recorder
                .plan()
                .read_back(&self.buffers.logits, 0, &self.buffers.logits_read, 0, bytes);
        }
        recorder.build()
    }

    fn record_layers(&self, recorder: &mut Recorder<'_>) -> Result<(), Error> {
        let GpuModel { hp, weights, .. } = &*self.model;
        if recorder.shape == ONE && recorder.fuses(hp, weights) {
            for (index, weights) in weights.layers.iter().enumerate() {
                let step = TokenStep {
                    hp,
                    weights,
                    index,
                    buffers: &self.buffers,
                    state: &self.state,
                };
                step.record(recorder)?;
            }
            self.state.take_next_shifts(recorder.plan());
            return Ok(());
        }
        for index in 0..hp.layers {
            let step = self.layer_step(index);
            step.time_mix(recorder)?;
            step.channel_mix(recorder)?;
        }
        Ok(())
    }

    pub(super) fn layer_step(&self, index: usize) -> LayerStep<'_> {
        let GpuModel { hp, weights, .. } = &*self.model;
        LayerStep {
            hp,
            weights: &weights.layers[index],
            index,
            buffers: &self.buffers,
            state: &self.state,
        }
    }

    /// The shape of plan that reads so many tokens.
    pub(super) fn shape(&self, tokens: usize) -> Shape {
        fitting_shape(tokens, self.buffers.capacity, self.model.matmul())
    }

    /// The shape of plan that makes so many rows of logits: of exact products in every precision.
    fn head_shape(&self, rows: usize) -> Shape {
        let block_size = self.model.options.tuning.block_size;
        let matmul = MatmulKind::Exact { block_size };
        fitting_shape(rows, self.buffers.head_capacity, matmul)
    }

    pub(super) fn check_tokens(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocab = self.model.hp.vocab;
        match tokens.iter().position(|&token| token as usize >= vocab) {
            None => Ok(()),
            Some(position) => Err(Error::Token {
                token: tokens[position],
                position,
                vocab,
            }),
        }
    }

    /// Clears the state if that is due.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        if self.reset_is_due {
            self.state.clear(&self.model.context)?;
            self.reset_is_due = false;
        }
        Ok(())
    }
}

fn fitting_shape(tokens: usize, capacity: usize, matmul: MatmulKind) -> Shape {
    let fits = |most: u32| tokens <= most as usize && most as usize <= capacity;
    if let Some(columns) = Matvec::COLUMNS.into_iter().find(|columns| fits(*columns)) {
        return Shape::Few { columns };
    }
    let planned = PLAN_TOKENS.into_iter().find(|most| fits(*most));
    Shape::Many {
        tokens: planned.unwrap_or(capacity as u32),
        matmul,
    }
}

/// Where the first number lies that is none or infinite. Whole blocks are looked through at once, which takes a tenth of
/// the time.
fn first_not_finite(numbers: &[f32]) -> Option<usize> {
    const BLOCK: usize = 1024;
    let has_any = |block: &[f32]| block.iter().fold(false, |any, x| any | !x.is_finite());
    let block = numbers.chunks(BLOCK).position(has_any)?;
    let rest = &numbers[block * BLOCK..];
    let within = rest.iter().position(|number| !number.is_finite())?;
    Some(block * BLOCK + within)
}

/// Most tokens of the plans that are made besides one for the whole chunk: large tiles waste time on few tokens.
const PLAN_TOKENS: [u32; 3] = [16, 64, 256];

/// The head of a step takes one row.
const ONE: Shape = Shape::Few { columns: 1 };

impl Session for GpuSession {
    fn hyperparameters(&self) -> &Hyperparameters {
        &self.model.hp
    }

    fn forward(&mut self, tokens: &[u32], wanted: Wanted) -> Result<Vec<f32>, Error> {
        self.check_tokens(tokens)?;
        self.begin()?;
        let mut logits = Vec::new();
        let chunks = tokens.chunks(self.buffers.capacity);
        let last = chunks.len().saturating_sub(1);
        for (index, chunk) in chunks.enumerate() {
            let wanted = match wanted {
                Wanted::Last if index < last => Wanted::Nothing,
                _ => wanted,
            };
            self.read_chunk(chunk, wanted, &mut logits)?;
        }
        let vocab = self.model.hp.vocab;
        match first_not_finite(&logits) {
            None => Ok(logits),
            Some(at) => {
                let position = tokens.len() - wanted.count(tokens.len()) + at / vocab;
                Err(Error::NonFinite {
                    place: "the logits".to_owned(),
                    position,
                })
            }
        }
    }

    fn state(&mut self) -> Result<State, Error> {
        self.begin()?;
        self.state.read(&self.model.context, &self.model.hp)
    }

    fn set_state(&mut self, state: &State) -> Result<(), Error> {
        state.check(&self.model.hp)?;
        self.reset_is_due = false;
        self.state.write(&self.model.context, state)
    }

    fn reset(&mut self) {
        self.reset_is_due = true;
    }
}

/// The state of one sequence on the device, laid out as [`State`].
#[derive(Debug)]
pub(super) struct DeviceState {
    att_shift: Buffer,
    ffn_shift: Buffer,
    /// What the shifts are to become when the token is through all layers: until then others read the old ones.
    next_shifts: [Buffer; 2],
    wkv: Buffer,
    layers: u64,
}

impl DeviceState {
    fn new(context: &Context, hp: &Hyperparameters) -> Result<DeviceState, Error> {
        let numbers = (hp.layers * hp.width) as u64;
        let part = |label: &str, numbers: u64| {
            context.buffer(&format!("the state ({label})"), 4 * numbers)
        };
        Ok(DeviceState {
            att_shift: part("att shift", numbers)?,
            ffn_shift: part("ffn shift", numbers)?,
            next_shifts: [
                part("next att shift", numbers)?,
                part("next ffn shift", numbers)?,
            ],
            wkv: part("wkv", numbers * hp.head_size as u64)?,
            layers: hp.layers as u64,
        })
    }

    pub(super) fn att_shift(&self, layer: usize) -> Binding<'_> {
        self.of_layer(&self.att_shift, layer)
    }

    pub(super) fn ffn_shift(&self, layer: usize) -> Binding<'_> {
        self.of_layer(&self.ffn_shift, layer)
    }

    pub(super) fn next_att_shift(&self, layer: usize) -> Binding<'_> {
        self.of_layer(&self.next_shifts[0], layer)
    }

    pub(super) fn next_ffn_shift(&self, layer: usize) -> Binding<'_> {
        self.of_layer(&self.next_shifts[1], layer)
    }

    /// Ends a plan by making the next shifts the present ones.
    fn take_next_shifts(&self, plan: &mut PlanBuilder<'_>) {
        let [att, ffn] = &self.next_shifts;
        for (next, present) in [(att, &self.att_shift), (ffn, &self.ffn_shift)] {
            plan.copy(next, 0, present, 0, present.bytes());
        }
    }

    pub(super) fn wkv(&self, layer: usize) -> Binding<'_> {
        self.of_layer(&self.wkv, layer)
    }

    /// Heads of 64 channels make every layer's part begin at a multiple of 256 bytes, where bindings may begin.
    fn of_layer<'a>(&self, buffer: &'a Buffer, layer: usize) -> Binding<'a> {
        let bytes = buffer.bytes() / self.layers;
        Binding::Part {
            buffer,
            offset: layer as u64 * bytes,
            bytes,
        }
    }

    fn read(&self, context: &Context, hp: &Hyperparameters) -> Result<State, Error> {
        let mut state = State::zeros(hp);
        context.read(&self.att_shift, 0, &mut state.att_shift)?;
        context.read(&self.ffn_shift, 0, &mut state.ffn_shift)?;
        context.read(&self.wkv, 0, &mut state.wkv)?;
        Ok(state)
    }

    fn clear(&self, context: &Context) -> Result<(), Error> {
        context.clear(&self.att_shift)?;
        context.clear(&self.ffn_shift)?;
        Ok(context.clear(&self.wkv)?)
    }

    fn write(&self, context: &Context, state: &State) -> Result<(), Error> {
        context.write(&self.att_shift, 0, &state.att_shift)?;
        context.write(&self.ffn_shift, 0, &state.ffn_shift)?;
        Ok(context.write(&self.wkv, 0, &state.wkv)?)
    }
}

#[cfg(test)]
mod tests {
    use super::first_not_finite;

    #[test]
    fn the_first_number_that_is_not_finite_is_found() {
        let mut numbers = vec![0.5; 5000];
        assert_eq!(first_not_finite(&numbers), None);
        numbers[4999] = f32::NAN;
        assert_eq!(first_not_finite(&numbers), Some(4999));
        numbers[1024] = f32::NEG_INFINITY;
        assert_eq!(first_not_finite(&numbers), Some(1024));
        numbers[1023] = f32::INFINITY;
        assert_eq!(first_not_finite(&numbers), Some(1023));
        assert_eq!(first_not_finite(&[]), None);
    }
}
