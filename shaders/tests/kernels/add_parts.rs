//! `add_parts.wgsl`

use bytemuck::{Zeroable, bytes_of};
use half::f16;
use thalweg_gpu::{Binding, Buffer, Workgroups};
use thalweg_shaders::kernels::{
    AddParts, AddPartsParams, Epilogue, HIDDEN_SCALE, Job, Number, pad_jobs,
};

use crate::harness::{
    Noise, assert_close, buffer, halves, numbers_of, read, read_halves, rows, run,
};
use crate::product::{Held, finished};

const OUTPUTS: [Number; 2] = [Number::F32, Number::F16];
/// Elements of vectors before the biases.
const BEFORE_BIAS: usize = 3;
/// Tokens of the parts and the output; the run's are fewer.
const SPARE_TOKENS: usize = 2;

/// Parts of the products of several matrices, whose rows lie side by side in the output.
struct Case {
    heights: Vec<usize>,
    tokens: usize,
    /// `[parts, matrices, capacity, rows of the matrix]`
    parts: Vec<Vec<f32>>,
    vectors: Vec<f32>,
    /// `[capacity, rows of all matrices]`, like what it is finished with.
    old: Vec<f32>,
    first_values: Vec<f32>,
}

impl Case {
    fn new(heights: &[usize], tokens: usize, parts: usize) -> Case {
        let all: usize = heights.iter().sum();
        let numbers = (tokens + SPARE_TOKENS) * all;
        let mut noise = Noise::new((numbers + parts) as u64);
        // What an output of halves holds is halves.
        let mut exact = |count| numbers_of(&halves(&noise.numbers(count)));
        Case {
            old: exact(numbers),
            first_values: exact(numbers),
            parts: (0..parts).map(|_| noise.numbers(numbers)).collect(),
            vectors: noise.numbers((BEFORE_BIAS + all).next_multiple_of(4)),
            heights: heights.to_vec(),
            tokens,
        }
    }

    /// Any shape: one to three matrices of any height, one to nine tokens, two to ten parts.
    fn any(seed: u64) -> Case {
        let mut noise = Noise::new(seed);
        let mut up_to = |most: u64| 1 + (noise.bits() % most) as usize;
        let heights: Vec<usize> = (0..up_to(3)).map(|_| up_to(300)).collect();
        Case::new(&heights, up_to(9), 1 + up_to(9))
    }

    fn all_rows(&self) -> usize {
        self.heights.iter().sum()
    }

    fn capacity(&self) -> usize {
        self.tokens + SPARE_TOKENS
    }

    /// The sums of the run's tokens, `[tokens, rows of all matrices]`, added up in the order of the parts.
    fn sums(&self) -> Vec<f32> {
        let at = |token: usize, row: usize| {
            let (mut first, mut row) = (0, row);
            for height in &self.heights {
                if row < *height {
                    return first + token * height + row;
                }
                first += self.capacity() * height;
                row -= height;
            }
            unreachable!("a row of one of the matrices")
        };
        (0..self.tokens)
            .flat_map(|token| (0..self.all_rows()).map(move |row| at(token, row)))
            .map(|at| self.parts.iter().fold(0.0, |sum, part| sum + part[at]))
            .collect()
    }

    fn expected(&self, epilogue: Epilogue, output: Number) -> Vec<f32> {
        let run = ..self.tokens * self.all_rows();
        let held = Held {
            bias: &self.vectors[BEFORE_BIAS..][..self.all_rows()],
            old: &self.old[run],
            first_values: &self.first_values[run],
        };
        let mut finished = finished(epilogue, self.sums(), held);
        if (epilogue, output) == (Epilogue::ReluSquared, Number::F16) {
            for value in &mut finished {
                *value = (*value * HIDDEN_SCALE).min(f16::MAX.to_f32());
            }
        }
        finished
    }

    fn jobs(&self, epilogue: Epilogue) -> Vec<Job> {
        let (all, capacity) = (self.all_rows(), self.capacity());
        let mut first_row = 0;
        let job = |&height: &usize| {
            let job = Job {
                rows: height as u32,
                input: (capacity * first_row) as u32,
                input_stride: height as u32,
                output: first_row as u32,
                output_stride: all as u32,
                epilogue: epilogue as u32,
                bias: (BEFORE_BIAS + first_row) as u32,
                first_value: (capacity * all + first_row) as u32,
                ..Job::zeroed()
            };
            first_row += height;
            job
        };
        self.heights.iter().map(job).collect()
    }

    fn part_stride(&self) -> u32 {
        (self.capacity() * self.all_rows()) as u32
    }

    /// The output before the run.
    fn out(&self, output: Number) -> Buffer {
        let held = [&self.old[..], &self.first_values].concat();
        match output {
            Number::F32 => buffer(&held),
            Number::F16 => buffer(&halves(&held)),
        }
    }

    fn run(&self, epilogue: Epilogue, output: Number) -> Vec<f32> {
        let out = self.out(output);
        run_sums((self, epilogue, output, &out), None);
        found(&out, output)
    }

    #[track_caller]
    fn compare(&self, epilogue: Epilogue, output: Number) {
        self.compare_with(&self.run(epilogue, output), epilogue, output);
    }

    #[track_caller]
    fn compare_with(&self, found: &[f32], epilogue: Epilogue, output: Number) {
        let what = format!(
            "{epilogue:?} as {output:?}, {:?} rows, {} tokens, {} parts",
            self.heights,
            self.tokens,
            self.parts.len()
        );
        let (written, rest) = found.split_at(self.tokens * self.all_rows());
        let expected = self.expected(epilogue, output);
        match (epilogue, output) {
            (Epilogue::Store, Number::F32) => assert_eq!(written, expected, "{what}"),
            (_, Number::F32) => assert_close(written, &expected, 2e-6, &what),
            (_, Number::F16) => assert_close(written, &expected, 6e-4, &what),
        }
        let untouched = [&self.old[expected.len()..], &self.first_values].concat();
        assert_eq!(rest, untouched, "{what}: beyond the run's tokens");
    }
}

/// What is added up, what becomes of it, and where it goes.
type Sum<'a> = (&'a Case, Epilogue, Number, &'a Buffer);

/// Adds up the parts of one case, and of another beside it, which has as many parts and tokens.
fn run_sums((case, epilogue, output, out): Sum<'_>, beside: Option<Sum<'_>>) {
    let mut jobs = case.jobs(epilogue);
    let first_beside = jobs.len() as u32;
    let mut vectors = case.vectors.clone();
    let mut parts = case.parts.clone();
    let mut part_stride = case.part_stride();
    if let Some((other, epilogue, ..)) = beside {
        jobs.extend(other.jobs(epilogue).into_iter().map(|job| Job {
            input: job.input + case.part_stride(),
            bias: job.bias + case.vectors.len() as u32,
            ..job
        }));
        vectors.extend(&other.vectors);
        part_stride += other.part_stride();
        for (part, others) in parts.iter_mut().zip(&other.parts) {
            part.extend(others);
        }
    }
    let params = AddPartsParams {
        part_stride,
        first_beside,
        padding: [0; 2],
    };
    let padded = pad_jobs(&jobs);
    let (rows, vectors, parts) = (
        rows(case.tokens, 0),
        buffer(&vectors),
        buffer(&parts.concat()),
    );
    let mut bindings = vec![
        Binding::Buffer(&rows),
        Binding::Uniform(bytes_of(&padded)),
        Binding::Buffer(&vectors),
        Binding::Uniform(bytes_of(&params)),
        Binding::Buffer(&parts),
        Binding::Buffer(out),
    ];
    bindings.extend(beside.map(|(.., out)| Binding::Buffer(out)));
    let kernel = AddParts {
        parts: case.parts.len() as u32,
        output,
        beside: beside.map(|(_, _, output, _)| output),
    };
    let most_rows = jobs.iter().map(|job| job.rows).max().unwrap_or_default();
    let tokens = case.capacity() as u32 + 3;
    let grid = kernel.workgroups(jobs.len() as u32, most_rows + 300, tokens);
    run(&kernel.kernel().unwrap(), &bindings, Workgroups::Grid(grid));
}

fn found(out: &Buffer, output: Number) -> Vec<f32> {
    match output {
        Number::F32 => read(out),
        Number::F16 => read_halves(out),
    }
}

#[test]
fn sums_beside_others_have_an_output_of_their_own() {
    let kinds = [Epilogue::Store, Epilogue::Tanh, Epilogue::Sigmoid];
    for seed in 0..18 {
        let case = Case::any(seed);
        let mut noise = Noise::new(seed + 100);
        let mut up_to = |most: u64| 1 + (noise.bits() % most) as usize;
        let heights: Vec<usize> = (0..up_to(4)).map(|_| up_to(70)).collect();
        let beside = Case::new(&heights, case.tokens, case.parts.len());
        let epilogue = kinds[seed as usize % kinds.len()];
        for output in OUTPUTS {
            for output_beside in OUTPUTS {
                let outs = [case.out(output), beside.out(output_beside)];
                run_sums(
                    (&case, Epilogue::Add, output, &outs[0]),
                    Some((&beside, epilogue, output_beside, &outs[1])),
                );
                case.compare_with(&found(&outs[0], output), Epilogue::Add, output);
                let found = found(&outs[1], output_beside);
                beside.compare_with(&found, epilogue, output_beside);
            }
        }
    }
}

#[test]
fn any_shape() {
    for seed in 0..24 {
        for output in OUTPUTS {
            Case::any(seed).compare(Epilogue::Store, output);
        }
    }
}

#[test]
fn one_token_and_rows_that_do_not_fill_a_vec4() {
    for height in [1, 2, 3, 4, 5, 255, 256, 257] {
        for output in OUTPUTS {
            Case::new(&[height], 1, 3).compare(Epilogue::Store, output);
        }
    }
}

#[test]
fn epilogues_are_their_twins() {
    for epilogue in Epilogue::ALL {
        for output in OUTPUTS {
            Case::new(&[65, 7, 130], 3, 4).compare(epilogue, output);
        }
    }
}

/// Squared relus stored as f16 are bounded where the scale is not enough.
#[test]
fn squared_relus_stay_in_the_range_of_f16() {
    let mut case = Case::new(&[9], 2, 2);
    case.parts[0][4] = 1e4;
    case.compare(Epilogue::ReluSquared, Number::F16);
    assert_eq!(case.run(Epilogue::ReluSquared, Number::F16)[4], 65504.0);
}

/// What is not finite must come out where it goes in, and nowhere else, for the guard on the logits to see it.
#[test]
fn what_is_not_finite_goes_through() {
    // In a group of four rows and in the rest behind the last one.
    for at in [1, 5] {
        for (parts, is_lost) in [
            ([f32::NAN, 1.0], f32::is_nan as fn(f32) -> bool),
            ([f32::INFINITY, f32::NEG_INFINITY], f32::is_nan),
            ([1.0, f32::INFINITY], f32::is_infinite),
        ] {
            let mut case = Case::new(&[6], 2, 2);
            case.parts
                .iter_mut()
                .zip(parts)
                .for_each(|(part, value)| part[at] = value);
            for epilogue in [Epilogue::Store, Epilogue::Add, Epilogue::AddUnscaled] {
                for output in OUTPUTS {
                    let found = case.run(epilogue, output);
                    let what = format!("{parts:?} at {at}, {epilogue:?} as {output:?}: {found:?}");
                    let lost = |(index, value): (usize, &f32)| is_lost(*value) == (index == at);
                    assert!(found.iter().enumerate().all(lost), "{what}");
                }
            }
        }
    }
}

#[test]
fn squared_relus_let_what_is_not_a_number_through() {
    for output in OUTPUTS {
        let mut case = Case::new(&[6], 1, 2);
        case.parts[1][1] = f32::NAN;
        case.parts[1][5] = f32::NAN;
        let found = case.run(Epilogue::ReluSquared, output);
        for (row, value) in found[..6].iter().enumerate() {
            assert_eq!(
                value.is_nan(),
                [1, 5].contains(&row),
                "{output:?}: {found:?}"
            );
        }
    }
}
