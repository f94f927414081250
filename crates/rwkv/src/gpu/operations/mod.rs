//! Operations on a device: recorded as a model's plans record them, once and often enough to be timed.

mod chain;
mod room;

use std::sync::Arc;
use std::time::{Duration, Instant};

use thalweg_gpu::{Context, Plan};
use thalweg_shaders::kernels::{HEAD_SIZE, Number};

use super::model::{GpuOptions, matmul_kind};
use super::recorder::{MatmulKind, Recorder, Shape};
use crate::Error;
use crate::operations::{Form, Kind, Operation, Sizes};
use chain::Chain;
use room::{Encoded, Room, Weights};

/// What operations of a model need on a device: for one token, and for many.
#[derive(Debug)]
pub struct GpuOperations {
    context: Arc<Context>,
    sizes: Sizes,
    options: GpuOptions,
    matmul: MatmulKind,
    one: Room,
    many: Room,
}

/// A form of an operation on a device, ready to be timed.
#[derive(Debug)]
pub struct GpuForm {
    context: Arc<Context>,
    form: Form,
    once: Plan,
    often: Plan,
    /// How often the second plan has it.
    times: usize,
    /// What the plans bind.
    _weights: Arc<Vec<Weights>>,
}

/// A submission of an operation again and again takes so long at the least, unless that is too often.
const LEAST: Duration = Duration::from_millis(10);
/// Seconds below which no clock tells anything.
const LEAST_TOLD: f64 = 1e-9;
const MOST_TIMES: usize = 2048;
/// How many times as often it is tried next as the time before.
const GROWTH: usize = 4;
/// Bytes of all copies of the weights together, more than caches hold: in a model weights come from memory.
const COPIED_BYTES: usize = 256 << 20;
const MOST_COPIES: usize = 512;

impl GpuOperations {
    /// Makes room for operations with one token and with up to `many`.
    ///
    /// # Errors
    /// [`Error::Setting`] for heads of another size than the kernels are made for; errors of the device.
    pub fn new(
        context: Arc<Context>,
        sizes: Sizes,
        options: GpuOptions,
        many: usize,
    ) -> Result<GpuOperations, Error> {
        let head_size = sizes.hp.head_size;
        if head_size != HEAD_SIZE as usize {
            return Err(Error::Setting {
                name: "size of heads",
                found: head_size,
                expected: format!("{HEAD_SIZE} on a GPU (--backend cpu takes any)"),
            });
        }
        options.tuning.check(&sizes.hp, context.adapter())?;
        let matmul = matmul_kind(&context, &sizes.hp, options);
        Ok(GpuOperations {
            one: Room::new(&context, &sizes, 1, Number::F32)?,
            many: Room::new(&context, &sizes, many, matmul.operand())?,
            context,
            sizes,
            options,
            matmul,
        })
    }

    /// The forms of an operation that the device is up to.
    pub fn forms(&self, operation: &Operation) -> Vec<Form> {
        let mut forms = operation.forms().to_vec();
        forms.retain(|form| self.can(operation, *form));
        forms
    }

    /// Makes weights and plans for each of [these forms](GpuOperations::forms).
    ///
    /// # Errors
    /// Errors of the device.
    pub fn prepare(&self, operation: &Operation) -> Result<Vec<GpuForm>, Error> {
        let weights = Arc::new(self.weights(operation)?);
        let forms = self.forms(operation).into_iter();
        forms
            .map(|form| self.form(operation, form, &weights))
            .collect()
    }

    /// Copies of the matrices, which repetitions read in turn.
    fn weights(&self, operation: &Operation) -> Result<Vec<Weights>, Error> {
        let encoded = Encoded::new(operation, &self.sizes, self.matmul.operand())?;
        let copies = match (encoded.bytes(), self.context.adapter().software) {
            (0, _) | (_, true) => 1,
            (bytes, false) => (COPIED_BYTES / bytes).clamp(1, MOST_COPIES),
        };
        let copies = (0..copies).map(|_| encoded.upload(&self.context));
        copies.collect()
    }

    /// Whether the device has the workgroup memory that products with a norm before them take.
    fn can(&self, operation: &Operation, form: Form) -> bool {
        let norms = matches!(operation.kind, Kind::ChannelMixKey | Kind::Head);
        let fused = norms && form == Form::Fused;
        !fused || self.recorder(operation).fuses_norm(self.sizes.hp.width)
    }

    fn form(
        &self,
        operation: &Operation,
        form: Form,
        weights: &Arc<Vec<Weights>>,
    ) -> Result<GpuForm, Error> {
        let plan = |times| self.plan(operation, form, weights, times);
        let mut prepared = GpuForm {
            context: Arc::clone(&self.context),
            form,
            once: plan(1)?,
            often: plan(GROWTH)?,
            times: GROWTH,
            _weights: Arc::clone(weights),
        };
        prepared.seconds_of(&prepared.once)?; // the first time may compile
        while prepared.times < MOST_TIMES
            && prepared.seconds_of(&prepared.often)? < LEAST.as_secs_f64()
        {
            prepared.times = (prepared.times * GROWTH).min(MOST_TIMES);
            prepared.often = plan(prepared.times)?;
        }
        Ok(prepared)
    }

    fn plan(
        &self,
        operation: &Operation,
        form: Form,
        weights: &[Weights],
        times: usize,
    ) -> Result<Plan, Error> {
        let mut recorder = self.recorder(operation);
        for weights in weights.iter().cycle().take(times) {
            let chain = Chain {
                sizes: &self.sizes,
                room: self.room(operation),
                weights,
            };
            chain.record(&mut recorder, operation.kind, form)?;
        }
        recorder.build()
    }

    fn recorder(&self, operation: &Operation) -> Recorder<'_> {
        let shape = match operation.tokens {
            1 => Shape::Few { columns: 1 },
            _ => Shape::Many {
                tokens: self.many.tokens as u32,
                matmul: self.matmul,
            },
        };
        Recorder::new(&self.context, shape, self.options, operation.name())
    }

    fn room(&self, operation: &Operation) -> &Room {
        match operation.tokens {
            1 => &self.one,
            _ => &self.many,
        }
    }
}

impl GpuForm {
    /// Which form it is.
    pub fn form(&self) -> Form {
        self.form
    }

    /// How many are timed together where they are timed alone.
    pub fn repetitions(&self) -> usize {
        self.times
    }

    /// Dispatches of it.
    pub fn dispatches(&self) -> usize {
        self.once.dispatches()
    }

    /// Seconds from the begin to the end of it alone, as the host sees it: encoded, submitted, waited for.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn launched_s(&self) -> Result<f64, Error> {
        let start = Instant::now();
        self.once.run(&self.context)?;
        self.context.wait("measuring an operation")?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds of it on the device where it waits for nothing but what runs before it there: the time of many in one submission
    /// less that of one, which is what the host takes, too, shared among the others.
    ///
    /// # Errors
    /// Errors of the device.
    pub fn alone_s(&self) -> Result<f64, Error> {
        let once = self.seconds_of(&self.once)?;
        let often = self.seconds_of(&self.often)?;
        let a_time = (often - once) / (self.times - 1) as f64;
        Ok(a_time.max(LEAST_TOLD))
    }

    /// Seconds of a plan that is encoded before.
    fn seconds_of(&self, plan: &Plan) -> Result<f64, Error> {
        plan.prepare(&self.context);
        let start = Instant::now();
        plan.run(&self.context)?;
        self.context.wait("measuring an operation")?;
        Ok(start.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_gguf::{TensorType, blocks};
    use thalweg_gpu::Buffer;

    use super::super::Precision;
    use crate::operations::Weight;
    use crate::operations::tests::sizes;

    const MANY: usize = 24;

    fn operations(precision: Precision) -> GpuOperations {
        let options = GpuOptions {
            precision,
            ..GpuOptions::default()
        };
        let context = Arc::new(Context::of_any_kind().unwrap());
        GpuOperations::new(context, sizes(), options, MANY).unwrap()
    }

    /// What an operation leaves where its results go.
    fn results(operations: &GpuOperations, operation: &Operation, form: Form) -> Vec<f32> {
        let room = operations.room(operation);
        let buffer: &Buffer = match operation.kind {
            Kind::NormShifts | Kind::TokenShift | Kind::Readout => &room.mixtures,
            Kind::LayerNorm | Kind::GroupNorm => &room.between[0],
            Kind::ProductAdd => &room.residual,
            _ => &room.out,
        };
        let context = &operations.context;
        context.clear(buffer).unwrap();
        let weights = operations.weights(operation).unwrap();
        let plan = operations.plan(operation, form, &weights, 1).unwrap();
        plan.run(context).unwrap();
        let mut bytes = vec![0u8; buffer.bytes() as usize];
        context.read(buffer, 0, &mut bytes).unwrap();
        let feeds_products = matches!(
            operation.kind,
            Kind::NormShifts | Kind::TokenShift | Kind::Readout
        );
        let operand = operations.recorder(operation).shape.operand();
        let (ty, bytes) = match feeds_products && operand == Number::F16 {
            true => (TensorType::F16, &bytes[..bytes.len() / 2]), // there is room for larger ones
            false => (TensorType::F32, &bytes[..]),
        };
        let mut numbers = vec![0.0; bytes.len() / ty.block_bytes()];
        blocks::decode(ty, bytes, &mut numbers).unwrap();
        numbers
    }

    #[test]
    fn both_forms_come_to_the_same() {
        for (precision, tolerance) in [(Precision::Exact, 1e-5), (Precision::Fast, 2e-3)] {
            let operations = operations(precision);
            for operation in Operation::all(MANY) {
                let of_form = |form| results(&operations, &operation, form);
                let forms: Vec<_> = operation.forms().iter().copied().map(of_form).collect();
                let largest = forms[0].iter().fold(0.0f32, |most, x| most.max(x.abs()));
                assert!(largest > 0.0, "{operation:?}");
                for (index, (one, last)) in forms[0].iter().zip(&forms[forms.len() - 1]).enumerate()
                {
                    assert!(
                        (one - last).abs() <= tolerance * largest,
                        "{precision:?} {operation:?} at {index}: {one} {last}"
                    );
                }
            }
        }
    }

    #[test]
    fn fused_forms_have_fewer_dispatches_and_all_take_time() {
        for precision in [Precision::Exact, Precision::Fast] {
            let operations = operations(precision);
            for kind in [
                Kind::Nothing,
                Kind::NormShifts,
                Kind::ProductAdd,
                Kind::Product(Weight::Output),
            ] {
                let operation = Operation { kind, tokens: MANY };
                let forms = operations.prepare(&operation).unwrap();
                assert_eq!(forms.len(), operation.forms().len());
                assert!(
                    forms.is_sorted_by(|one, next| one.dispatches() > next.dispatches()),
                    "{operation:?}"
                );
                for form in &forms {
                    assert!(form.launched_s().unwrap() > 0.0);
                    assert!(form.alone_s().unwrap() > 0.0);
                }
            }
        }
    }

    #[test]
    fn other_heads_are_refused() {
        let mut sizes = sizes();
        sizes.hp.head_size = 32;
        let context = Arc::new(Context::of_any_kind().unwrap());
        let options = GpuOptions::default();
        let fault = GpuOperations::new(context, sizes, options, MANY).unwrap_err();
        assert!(fault.to_string().contains("32, expected 64"), "{fault}");
    }
}
