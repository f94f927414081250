//! Optional features prove themselves on a small product before a model relies on them.
//!
//! Weights and inputs are such that every form gives the same numbers up to the rounding of sums, and repeat after
//! 31 rows and 7 tokens: few products on the CPU then check all those of the device, and as
//! the periods are prime, a result in the wrong place is a wrong result.

use std::fmt;
use std::time::Instant;

use bytemuck::{Zeroable, bytes_of};
use thalweg_gguf::{TensorType, blocks};
use thalweg_gpu::{Binding, Buffer, Context, Feature, Plan, PlanBuilder, Work, Workgroups};
use thalweg_shaders::kernels::{
    AddParts, AddPartsParams, CoopTile, Epilogue, FusedInput, FusedMatrix, FusedMatvec, Job,
    Kernel, MAX_JOBS, Matmul, MatmulCoop, NO_MIX, Number, Rows, pad_jobs,
};
use thalweg_shaders::{Encoding, SPAN, VEC4_BYTES, encode_rows, encode_rows_as_halves, twins};

use super::{Activations, Precision, Tuning};
use crate::Error;

/// A feature that had better not be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The feature.
    pub feature: Feature,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a feature.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Its kernel does not compile.
    Refused {
        /// What the compiler says.
        message: String,
    },
    /// A product is wrong.
    Wrong {
        /// The result that is furthest off.
        found: f32,
        /// What it should be.
        expected: f32,
    },
    /// It does not help.
    Slow {
        /// The time with the feature over that without.
        times: f64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused { message } => f.write_str(message),
            Fault::Wrong { found, expected } => {
                write!(
                    f,
                    "a small product came out as {found}, expected {expected}"
                )
            }
            Fault::Slow { times } => {
                write!(
                    f,
                    "a small product takes {times:.1} times as long with it as without"
                )
            }
        }
    }
}

/// Tries the features that a model with such arithmetic uses on the device, and tells of those that are wrong or, on
/// real GPUs, slow. [`Context`] opened without them does without.
///
/// # Errors
/// Errors of the device that no feature is to blame for.
pub fn check(
    context: &Context,
    precision: Precision,
    activations: Activations,
) -> Result<Vec<Finding>, Error> {
    let features = features_in_use(context, precision, activations);
    if features.is_empty() {
        return Ok(Vec::new());
    }
    let bench = Bench::new(context)?;
    let mut findings = Vec::new();
    for feature in features {
        let fault = bench.fault(feature)?;
        findings.extend(fault.map(|fault| Finding { feature, fault }));
    }
    Ok(findings)
}

/// Features that the device has and kernels for such arithmetic are made of.
fn features_in_use(
    context: &Context,
    precision: Precision,
    activations: Activations,
) -> Vec<Feature> {
    let [smallest, largest] = context.adapter().subgroup_sizes;
    let is_used = |feature: &Feature| match feature {
        Feature::Subgroup => smallest >= LEAST_SUBGROUP,
        Feature::F16 => precision == Precision::Fast,
        // In subgroups of one size.
        Feature::Coop => precision == Precision::Fast && smallest == largest,
        Feature::Dot4 => activations == Activations::Q8,
        Feature::Timestamps => false,
    };
    let features = context.features().iter().copied();
    features.filter(is_used).collect()
}

/// Kernels on subgroups want at least so many invocations of them.
const LEAST_SUBGROUP: u32 = 8;

const ROWS: usize = 1024;
const COLUMNS: usize = 1024;
const TOKENS: usize = 128;
const ROW_PERIOD: usize = 31;
const TOKEN_PERIOD: usize = 7;

const ENCODING: Encoding = Encoding::Q8_0;
const TYPE: TensorType = TensorType::Q8_0;

/// How far a result may be off, in parts of the largest one.
const TOLERANCE: f32 = 1e-4;
/// How much longer a feature may take than the form without it before it is dropped: less is noise.
const SLOWER: f64 = 1.3;
/// Products in one submission while they are timed.
const REPEATS: usize = 32;
/// How often a feature may turn out slow before it is dropped.
const ROUNDS: usize = 5;
/// How often each form is timed; the shortest time counts.
const SAMPLES: usize = 10;

/// The products on the device, and what they come to.
struct Bench<'c> {
    context: &'c Context,
    rows: Buffer,
    weights: Buffer,
    inputs: Buffer,
    halves: Buffer,
    out: Buffer,
    /// `[TOKEN_PERIOD, ROW_PERIOD]`
    expected: Vec<f32>,
}

/// One way to compute a product.
struct Form {
    kernel: Kernel,
    job: Job,
    grid: Workgroups,
    tokens: usize,
    /// What it reads and writes.
    input: Number,
    output: Number,
    /// Parameters besides the jobs.
    params: Option<AddPartsParams>,
}

impl<'c> Bench<'c> {
    fn new(context: &'c Context) -> Result<Bench<'c>, Error> {
        let (weights, inputs) = (weights(), inputs());
        let matrix = twins::Matrix {
            ty: TYPE,
            rows: ROW_PERIOD,
            cols: COLUMNS,
            bytes: &weights,
        };
        let mut expected = vec![0.0; TOKEN_PERIOD * ROW_PERIOD];
        twins::matmul(&matrix, &inputs, &mut expected)?;

        let row_bytes = ENCODING.row_bytes(COLUMNS);
        let mut encoded = vec![0; ROW_PERIOD * row_bytes];
        encode_rows(TYPE, COLUMNS, &weights, &mut encoded)?;
        let inputs = repeated(&inputs, COLUMNS, TOKENS);
        let mut halves = vec![0; 2 * inputs.len()];
        let bytes = bytemuck::cast_slice(&inputs);
        encode_rows_as_halves(TensorType::F32, COLUMNS, bytes, &mut halves)?;
        let rows = Rows {
            count: TOKENS as u32,
            first: 0,
        };
        let label = "a product that features are tried on";
        Ok(Bench {
            context,
            rows: context.buffer_with(label, &[rows])?,
            weights: context.buffer_with(label, &repeated(&encoded, row_bytes, ROWS))?,
            inputs: context.buffer_with(label, &inputs)?,
            halves: context.buffer_with(label, &halves)?,
            out: context.buffer(label, 4 * (TOKENS * ROWS) as u64)?,
            expected,
        })
    }

    /// What is wrong with a feature that the device has.
    fn fault(&self, feature: Feature) -> Result<Option<Fault>, Error> {
        let with = self.form(feature, true)?;
        let plan = match self.plan(&with, 1) {
            Err(Error::Gpu(
                error @ (thalweg_gpu::Error::Pipeline { .. } | thalweg_gpu::Error::Limit { .. }),
            )) => {
                let message = error.to_string();
                return Ok(Some(Fault::Refused { message }));
            }
            plan => plan?,
        };
        self.context.clear(&self.out)?;
        plan.run(self.context)?;
        let found = self.read(&with)?;
        let expected = self.expected(feature, with.tokens);
        // What 16-bit floats are worth shows in the matrices made of them.
        let is_timed = feature != Feature::F16 && !self.context.adapter().software;
        let fault = judge(&found, &expected, None);
        if fault.is_some() || !is_timed {
            return Ok(fault);
        }
        let without = self.form(feature, false)?;
        // Times of a device that has just woken up, or is busy, vary: what is slow is so every time.
        let mut fault = None;
        for _ in 0..ROUNDS {
            fault = judge(&found, &expected, Some(self.time([&with, &without])?));
            if fault.is_none() {
                break;
            }
        }
        Ok(fault)
    }

    /// The product with the feature, or as it is computed without.
    fn form(&self, feature: Feature, with: bool) -> Result<Form, Error> {
        let [smallest, largest] = self.context.adapter().subgroup_sizes;
        match feature {
            Feature::Coop if with => {
                let product = MatmulCoop {
                    halves_from: None,
                    encoding: ENCODING,
                    size: self.context.adapter().coop_size.unwrap_or_default(),
                    subgroup: largest,
                    tile: CoopTile::SMALL,
                    output: Number::F32,
                };
                let grid = product.workgroups(1, ROWS as u32, TOKENS as u32);
                let form = many_tokens(product.kernel()?, grid);
                Ok(Form {
                    input: Number::F16,
                    ..form
                })
            }
            Feature::Coop => {
                let product = Matmul {
                    encoding: ENCODING,
                    block_size: Matmul::DEFAULT_BLOCK_SIZE,
                    operand: Number::F32,
                    output: Number::F32,
                };
                let grid = product.workgroups(1, ROWS as u32, TOKENS as u32);
                Ok(many_tokens(product.kernel()?, grid))
            }
            Feature::F16 => sum_of_inputs(if with { Number::F16 } else { Number::F32 }),
            Feature::Subgroup => one_token(with.then_some(smallest), false),
            Feature::Dot4 | Feature::Timestamps => one_token(None, with),
        }
    }

    fn plan(&self, form: &Form, repeats: usize) -> Result<Plan, Error> {
        let jobs = pad_jobs(&[form.job]);
        let input = Binding::Buffer(match form.input {
            Number::F32 => &self.inputs,
            Number::F16 => &self.halves,
        });
        let vectors = Binding::Buffer(&self.inputs); // not looked at
        let mut bindings = vec![
            Binding::Buffer(&self.rows),
            Binding::Uniform(bytes_of::<[Job; MAX_JOBS]>(&jobs)),
            vectors,
        ];
        bindings.push(match &form.params {
            Some(params) => Binding::Uniform(bytes_of(params)),
            None => Binding::Buffer(&self.weights),
        });
        bindings.extend([input, Binding::Buffer(&self.out)]);
        // SAFETY: the buffers hold as many rows, columns and tokens as the jobs say, and all loops end with them.
        let pipeline = unsafe { self.context.pipeline(&form.kernel) }?;
        let mut plan = PlanBuilder::new(self.context, "trying a feature of the adapter");
        let work = Work {
            flops: (2 * ROWS * COLUMNS * form.tokens) as f64,
            bytes: self.weights.bytes() as f64,
        };
        for _ in 0..repeats {
            plan.dispatch(&pipeline, &bindings, form.grid, work)?;
        }
        Ok(plan.build()?)
    }

    /// The shortest seconds that each of two forms took, in turns.
    fn time(&self, forms: [&Form; 2]) -> Result<[f64; 2], Error> {
        let plans = [self.plan(forms[0], REPEATS)?, self.plan(forms[1], REPEATS)?];
        let mut shortest = [f64::INFINITY; 2];
        for _ in 0..SAMPLES {
            for (plan, shortest) in plans.iter().zip(&mut shortest) {
                self.context.wait("trying features")?;
                let start = Instant::now();
                plan.run(self.context)?;
                self.context.wait("trying features")?;
                *shortest = shortest.min(start.elapsed().as_secs_f64());
            }
        }
        Ok(shortest)
    }

    fn read(&self, form: &Form) -> Result<Vec<f32>, Error> {
        let mut found = vec![0.0; form.tokens * ROWS];
        match form.output {
            Number::F32 => self.context.read(&self.out, 0, &mut found)?,
            Number::F16 => {
                let mut bytes = vec![0u8; 2 * found.len()];
                self.context.read(&self.out, 0, &mut bytes)?;
                blocks::decode(TensorType::F16, &bytes, &mut found)?;
            }
        }
        Ok(found)
    }

    /// `[tokens, ROWS]`
    fn expected(&self, feature: Feature, tokens: usize) -> Vec<f32> {
        if feature == Feature::F16 {
            let inputs = repeated(&inputs(), COLUMNS, TOKENS);
            let parts = inputs.split_at(inputs.len() / 2);
            return parts.0.iter().zip(parts.1).map(|(a, b)| a + b).collect();
        }
        let rows = self
            .expected
            .chunks(ROW_PERIOD)
            .map(|row| repeated(row, 1, ROWS));
        let rows: Vec<Vec<f32>> = rows.collect();
        let tokens = (0..tokens).map(|token| rows[token % TOKEN_PERIOD].as_slice());
        tokens.collect::<Vec<_>>().concat()
    }
}

/// What results and times say; these are with the feature and without.
fn judge(found: &[f32], expected: &[f32], seconds: Option<[f64; 2]>) -> Option<Fault> {
    let largest = expected
        .iter()
        .fold(0.0f32, |largest, x| largest.max(x.abs()));
    let off = |found: f32, expected: f32| match (found - expected).abs() {
        off if off.is_nan() => f32::INFINITY,
        off => off,
    };
    let pairs = found.iter().copied().zip(expected.iter().copied());
    let worst = pairs.max_by(|a, b| off(a.0, a.1).total_cmp(&off(b.0, b.1)));
    if let Some((found, expected)) = worst
        && off(found, expected) > TOLERANCE * largest
    {
        return Some(Fault::Wrong { found, expected });
    }
    let times = seconds.map(|[with, without]| with / without)?;
    (times > SLOWER).then_some(Fault::Slow { times })
}

/// The plain job: the whole matrix times tokens that lie one after the other.
fn job() -> Job {
    Job {
        weights_stride: (ENCODING.row_bytes(COLUMNS) / VEC4_BYTES) as u32,
        rows: ROWS as u32,
        spans: (COLUMNS / SPAN) as u32,
        input_stride: COLUMNS as u32 / 4,
        mix: NO_MIX,
        output_stride: ROWS as u32,
        epilogue: Epilogue::Store as u32,
        ..Job::zeroed()
    }
}

fn many_tokens(kernel: Kernel, grid: [u32; 3]) -> Form {
    Form {
        kernel,
        job: job(),
        grid: Workgroups::Grid(grid),
        tokens: TOKENS,
        input: Number::F32,
        output: Number::F32,
        params: None,
    }
}

/// The product with one token, by subgroups of at least so many invocations or without, on integers or on floats.
fn one_token(subgroup: Option<u32>, integers: bool) -> Result<Form, Error> {
    let sharing = Tuning::default().ffn_key;
    let product = FusedMatvec {
        matrices: vec![FusedMatrix {
            encoding: ENCODING,
            rows: ROWS as u32,
        }],
        spans: (COLUMNS / SPAN) as u32,
        input: FusedInput::Plain,
        shuffled: subgroup.map_or(0, |smallest| smallest.min(32)),
        lanes: sharing.lanes,
        rows: sharing.rows,
        workgroup: sharing.workgroup,
        depth: sharing.depth,
        integers,
        rounds_output: false,
    };
    Ok(Form {
        kernel: product.kernel()?,
        job: job(),
        grid: Workgroups::Linear(product.workgroups()),
        tokens: 1,
        input: Number::F32,
        output: Number::F32,
        params: None,
    })
}

/// The first half of the tokens' inputs added to the second, instead of a product: what 16-bit floats alone are for is to
/// store results.
fn sum_of_inputs(output: Number) -> Result<Form, Error> {
    let tokens = TOKENS / 2;
    let sum = AddParts {
        parts: 2,
        output,
        beside: None,
    };
    Ok(Form {
        kernel: sum.kernel()?,
        job: Job {
            input_stride: COLUMNS as u32,
            rows: COLUMNS as u32,
            output_stride: COLUMNS as u32,
            ..job()
        },
        grid: Workgroups::Grid(sum.workgroups(1, COLUMNS as u32, tokens as u32)),
        tokens,
        input: Number::F32,
        output,
        params: Some(AddPartsParams {
            part_stride: (tokens * COLUMNS) as u32,
            ..AddPartsParams::default()
        }),
    })
}

/// [`ROW_PERIOD`] rows as they lie in a file: whole numbers from -127 to 127 in steps of 2^-7, which 16-bit floats hold.
fn weights() -> Vec<u8> {
    const SCALE: [u8; 2] = 0x2000_u16.to_le_bytes();
    let block = |row: usize, first: usize| {
        let quants = (first..first + 32).map(move |column| noise(row, column) as i8 as u8);
        SCALE.into_iter().chain(quants)
    };
    let rows = (0..ROW_PERIOD).flat_map(|row| (0..COLUMNS).step_by(32).map(move |c| (row, c)));
    rows.flat_map(|(row, first)| block(row, first)).collect()
}

/// [`TOKEN_PERIOD`] tokens' inputs: whole numbers from -127 to 127 in steps of 2^-7, with a 127 among each 16, so that
/// rounding them to 8 bits moves none.
fn inputs() -> Vec<f32> {
    let input = |token: usize, column: usize| match column % 16 {
        0 => 127.0 / 128.0,
        _ => noise(column, token) as f32 / 128.0,
    };
    let tokens = 0..TOKEN_PERIOD;
    tokens
        .flat_map(|token| (0..COLUMNS).map(move |column| input(token, column)))
        .collect()
}

/// A whole number from -127 to 127 without a visible order.
fn noise(row: usize, column: usize) -> i32 {
    let mixed = (row * 7919 + column * 104_729 + 1).wrapping_mul(2_654_435_761) >> 7;
    (mixed % 255) as i32 - 127
}

/// Rows of so many elements, repeated until there are `count`.
fn repeated<T: Copy>(rows: &[T], elements: usize, count: usize) -> Vec<T> {
    rows.iter()
        .copied()
        .cycle()
        .take(count * elements)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_devices_features_are_right() {
        let context = Context::of_any_kind().unwrap();
        let bench = Bench::new(&context).unwrap();
        let [smallest, largest] = context.adapter().subgroup_sizes;
        let can_be_tried = |feature: &&Feature| match feature {
            Feature::Subgroup => smallest >= LEAST_SUBGROUP,
            Feature::Coop => smallest == largest,
            _ => true,
        };
        for feature in context.features().iter().filter(can_be_tried) {
            let fault = bench.fault(*feature).unwrap();
            assert!(
                matches!(fault, None | Some(Fault::Slow { .. })),
                "{feature}: {fault:?}"
            );
        }
        let checked = check(&context, Precision::Fast, Activations::Q8).unwrap();
        assert!(
            checked
                .iter()
                .all(|finding| matches!(finding.fault, Fault::Slow { .. }))
        );
    }

    #[test]
    fn a_feature_that_is_put_to_the_wrong_product_is_found_out() {
        let context = Context::of_any_kind().unwrap();
        let mut bench = Bench::new(&context).unwrap();
        bench.expected[ROW_PERIOD / 2] += 0.1;
        let fault = bench.fault(Feature::Dot4).unwrap();
        assert!(matches!(fault, Some(Fault::Wrong { .. })), "{fault:?}");
    }

    #[test]
    fn both_forms_of_a_product_are_timed() {
        let context = Context::of_any_kind().unwrap();
        let bench = Bench::new(&context).unwrap();
        let forms = [true, false].map(|with| bench.form(Feature::Dot4, with).unwrap());
        let seconds = bench.time([&forms[0], &forms[1]]).unwrap();
        assert!(
            seconds.iter().all(|seconds| (1e-6..60.0).contains(seconds)),
            "{seconds:?}"
        );
    }

    #[test]
    fn the_largest_difference_is_told() {
        let expected = [10.0, -1.0, 0.0];
        assert_eq!(judge(&[10.0009, -1.0, 0.0], &expected, None), None);
        let fault = judge(&[10.0, -1.5, 0.2], &expected, Some([1.0, 2.0]));
        let (found, expected_there) = (-1.5, -1.0);
        assert_eq!(
            fault,
            Some(Fault::Wrong {
                found,
                expected: expected_there
            })
        );
        let fault = judge(&[10.0, -1.0, f32::NAN], &expected, None);
        assert!(
            matches!(fault, Some(Fault::Wrong { expected: 0.0, .. })),
            "{fault:?}"
        );
    }

    #[test]
    fn a_feature_may_be_a_little_slower() {
        let judge = |seconds| judge(&[1.0], &[1.0], Some(seconds));
        assert_eq!(judge([1.0, 2.0]), None);
        assert_eq!(judge([1.25, 1.0]), None);
        assert_eq!(judge([1.5, 1.0]), Some(Fault::Slow { times: 1.5 }));
    }

    #[test]
    fn weights_and_inputs_use_their_range_and_do_not_repeat_too_soon() {
        let inputs = inputs();
        assert!(inputs.iter().any(|x| *x < -0.9) && inputs.iter().all(|x| x.abs() < 1.0));
        let rows: Vec<&[f32]> = inputs.chunks(COLUMNS).collect();
        assert_eq!(rows.len(), TOKEN_PERIOD);
        assert!((1..TOKEN_PERIOD).all(|token| rows[token] != rows[token - 1]));
        let weights = weights();
        let rows: Vec<&[u8]> = weights.chunks(weights.len() / ROW_PERIOD).collect();
        assert!((1..ROW_PERIOD).all(|row| rows[row] != rows[row - 1]));
    }
}
