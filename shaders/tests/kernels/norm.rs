//! `layer_norm.wgsl` and `norm_mix.wgsl`

use bytemuck::bytes_of;
use half::f16;
use thalweg_gpu::{Binding, Workgroups};
use thalweg_shaders::kernels::{
    LayerNorm, LayerNormParams, Link, NO_SLOT, NormMix, NormMixParams, NormRows, Number,
};
use thalweg_shaders::twins;

use crate::harness::{Noise, assert_close, buffer, read, read_halves, row_workgroups, rows, run};

const EPSILON: f32 = 1e-5;
const SHAPES: [(usize, usize); 6] = [(1, 4), (1, 2560), (3, 12), (7, 260), (65, 256), (2, 5120)];

/// The vectors begin at element 8, the weight before the bias.
fn params(width: usize) -> LayerNormParams {
    let width = width as u32 / 4;
    LayerNormParams {
        width,
        weight: 2,
        bias: 2 + width,
        epsilon: EPSILON,
    }
}

fn vectors(noise: &mut Noise, width: usize) -> Vec<f32> {
    noise.numbers(8 + 2 * width)
}

#[test]
fn layer_norm_is_its_twin() {
    for (count, width) in SHAPES {
        for (picked, output) in [
            (false, Number::F32),
            (true, Number::F32),
            (true, Number::F16),
        ] {
            for workgroup in row_workgroups(width / 4) {
                let kernel = LayerNorm {
                    picked,
                    output,
                    workgroup,
                };
                layer_norm(count, width, kernel);
            }
        }
    }
}

fn layer_norm(count: usize, width: usize, kernel: LayerNorm) {
    let mut noise = Noise::new(width as u64);
    let x = noise.between(-3.0, 5.0, (count + 2) * width);
    let vectors = vectors(&mut noise, width);
    // Every third row, the first of them being left out by `Rows::first`; or those from the third on.
    let picks: Vec<u32> = (0..count as u32 + 2)
        .map(|row| row * 3 % (count as u32 + 2))
        .collect();
    let rows_read: Vec<usize> = match kernel.picked {
        true => picks[2..].iter().map(|row| *row as usize).collect(),
        false => (2..count + 2).collect(),
    };
    let read_x: Vec<f32> = rows_read
        .iter()
        .flat_map(|row| &x[row * width..][..width])
        .copied()
        .collect();
    let mut expected = vec![0.0; count * width];
    let (weight, bias) = vectors[8..].split_at(width);
    twins::layer_norm(&read_x, weight, bias, EPSILON, &mut expected);

    let out = match kernel.output {
        Number::F32 => buffer(&vec![f32::NAN; count * width]),
        Number::F16 => buffer(&vec![f16::NAN; count * width]),
    };
    let params = params(width);
    let (rows, vectors, x) = (rows(count, 2), buffer(&vectors), buffer(&x));
    let picks = buffer(&picks);
    let mut bindings = vec![
        Binding::Buffer(&rows),
        Binding::Uniform(bytes_of(&params)),
        Binding::Buffer(&vectors),
        Binding::Buffer(&x),
        Binding::Buffer(&out),
    ];
    if kernel.picked {
        bindings.push(Binding::Buffer(&picks));
    }
    let grid = Workgroups::Grid(kernel.workgroups(count as u32 + 1));
    run(&kernel.kernel().unwrap(), &bindings, grid);
    let (found, tolerance) = match kernel.output {
        Number::F32 => (read(&out), 1e-6),
        Number::F16 => (read_halves(&out), 6e-4),
    };
    assert_close(
        &found,
        &expected,
        tolerance,
        &format!("{kernel:?} [{count}, {width}]"),
    );
}

/// The lengths of sequences that follow one another, and the slots that have their states.
const MIXTURES: [&[(usize, u32)]; 6] = [
    &[(1, 0)],
    &[(3, 2)],
    &[(7, 1), (1, 0)],
    &[(1, 4), (1, 0), (1, 3), (1, 1)],
    &[(2, 3), (60, 0), (1, 2), (2, 1)],
    &[(2, 0), (2, 1)],
];
const SLOTS: usize = 5;
/// vec4s of a row.
const WIDTHS: [usize; MIXTURES.len()] = [640, 1, 3, 65, 24, 1280];

#[test]
fn norm_mix_is_its_twins_and_hands_the_last_rows_on() {
    for (sequences, width) in MIXTURES.into_iter().zip(WIDTHS) {
        for (mixes, output) in [(1, Number::F32), (6, Number::F32), (6, Number::F16)] {
            for rows in [NormRows::Any, NormRows::Guessed] {
                for workgroup in row_workgroups(width) {
                    let kernel = NormMix {
                        width: width as u32,
                        mixes,
                        output,
                        rows,
                        workgroup,
                    };
                    norm_mix(sequences, kernel);
                }
            }
        }
    }
}

#[test]
fn parts_are_added_to_single_rows_before_the_norm() {
    let sequences = [(1, 4), (1, 0), (1, 3), (1, 1)];
    for (width, mixes, parts, output) in [
        (1, 6, 1, Number::F32),
        (24, 1, 2, Number::F32),
        (65, 6, 3, Number::F32),
        (640, 6, 10, Number::F16),
        (1280, 1, 5, Number::F32),
    ] {
        for workgroup in row_workgroups(width) {
            let kernel = NormMix {
                width: width as u32,
                mixes,
                output,
                rows: NormRows::Single { parts },
                workgroup,
            };
            norm_mix(&sequences, kernel);
        }
    }
}

/// What the parts' sum is divided by.
const PART_SCALE: f32 = 0.0625;

/// In the second of three layers.
fn norm_mix(sequences: &[(usize, u32)], kernel: NormMix) {
    const LAYERS: usize = 3;
    /// Rows of the grid that a run may lack.
    const ROOM: usize = 5;
    let width = 4 * kernel.width as usize;
    let count: usize = sequences.iter().map(|(count, _)| count).sum();
    let capacity = count + ROOM;
    let mut noise = Noise::new(width as u64 + 1);
    let mut x = noise.between(-3.0, 5.0, count * width);
    let x_before = buffer(&[&x[..], &vec![f32::NAN; ROOM * width]].concat());
    let parts = match kernel.rows {
        NormRows::Single { parts } => noise.numbers(parts as usize * capacity * width),
        NormRows::Any | NormRows::Guessed => Vec::new(),
    };
    for (i, x) in x.iter_mut().enumerate() {
        let sum: f32 = parts.iter().skip(i).step_by(capacity * width).sum();
        *x += sum / PART_SCALE;
    }
    let vectors = vectors(&mut noise, width);
    let mixes = noise.between(0.0, 1.0, kernel.mixes as usize * width);
    let before = noise.numbers(SLOTS * LAYERS * width);
    let mut normed = vec![0.0; count * width];
    let (weight, bias) = vectors[8..].split_at(width);
    twins::layer_norm(&x, weight, bias, EPSILON, &mut normed);
    let numbers = kernel.mixes as usize * capacity * width;
    let (out, shifts) = match kernel.output {
        Number::F32 => (buffer(&vec![f32::NAN; numbers]), buffer(&before)),
        Number::F16 => (buffer(&vec![f16::NAN; numbers]), buffer(&before)),
    };
    let quarter = width as u32 / 4;
    let params = NormMixParams {
        weight: 2,
        bias: 2 + quarter,
        epsilon: EPSILON,
        mixes: 2 + 2 * quarter,
        mix_stride: capacity as u32 * quarter,
        shift: quarter,
        slot_stride: LAYERS as u32 * quarter,
        part_stride: capacity as u32 * quarter,
        part_scale: PART_SCALE,
        padding: [0; 3],
    };
    // Of guesses, every other sequence goes on from the log of the run before: from the row that has the slot's number.
    let due = noise.numbers(SLOTS * LAYERS * width);
    let guessed = kernel.rows == NormRows::Guessed;
    let is_due = |slot: u32| guessed && slot % 2 == 1;
    let mut links = links(sequences);
    links.resize(capacity, <Link as bytemuck::Zeroable>::zeroed());
    for link in links[..count]
        .iter_mut()
        .filter(|link| link.slot != NO_SLOT)
    {
        if is_due(link.slot) {
            link.slot = Link::due(link.slot);
        }
    }
    let noted = buffer(&vec![7.0_f32; capacity * LAYERS * width]);
    let inputs = [
        rows(count, 0),
        buffer(&[vectors, mixes.clone()].concat()),
        x_before,
        buffer(&links),
        buffer(&due),
    ];
    let mut bindings = vec![
        Binding::Buffer(&inputs[0]),
        Binding::Uniform(bytes_of(&params)),
        Binding::Buffer(&inputs[1]),
        Binding::Buffer(&inputs[2]),
        Binding::Buffer(&out),
        Binding::Buffer(&shifts),
        Binding::Buffer(&inputs[3]),
    ];
    let product = buffer(&[&parts[..], &[0.0; 4]].concat());
    match kernel.rows {
        NormRows::Any => {}
        NormRows::Guessed => bindings.extend([&inputs[4], &noted].map(Binding::Buffer)),
        NormRows::Single { .. } => bindings.push(Binding::Buffer(&product)),
    }
    let grid = Workgroups::Grid(kernel.workgroups(capacity as u32));
    run(&kernel.kernel().unwrap(), &bindings, grid);

    let what = format!("{kernel:?} {sequences:?} of {width}");
    let (found, tolerance) = match kernel.output {
        Number::F32 => (read(&out), 1e-6),
        Number::F16 => (read_halves(&out), 6e-4),
    };
    let mut shifts_after = before.clone();
    let mut noted_after = vec![7.0; capacity * LAYERS * width];
    let mut first = 0;
    for &(count, slot) in sequences {
        let of_sequence = &normed[first * width..][..count * width];
        let shift = (slot as usize * LAYERS + 1) * width..(slot as usize * LAYERS + 2) * width;
        for (index, mix) in mixes.chunks_exact(width).enumerate() {
            let mut expected = vec![0.0; count * width];
            let before = if is_due(slot) { &due } else { &before };
            twins::token_shift(of_sequence, &before[shift.clone()], mix, &mut expected);
            let found = &found[(index * capacity + first) * width..][..count * width];
            assert_close(found, &expected, tolerance, &what);
        }
        if guessed {
            for (row, normed) in of_sequence.chunks(width).enumerate() {
                let at = ((first + row) * LAYERS + 1) * width;
                noted_after[at..at + width].copy_from_slice(normed);
            }
        } else {
            shifts_after[shift].copy_from_slice(&of_sequence[(count - 1) * width..]);
        }
        first += count;
    }
    assert_close(&read(&inputs[2])[..x.len()], &x, 1e-6, &what);
    assert_close(&read(&shifts), &shifts_after, 1e-6, &what);
    assert_close(&read(&noted), &noted_after, 1e-6, &what);
}

fn links(sequences: &[(usize, u32)]) -> Vec<Link> {
    let mut links = Vec::new();
    for &(count, slot) in sequences {
        let first = links.len() as u32;
        links.push(Link {
            other: first + count as u32 - 1,
            slot,
        });
        let others = (first + 1..first + count as u32).map(|row| Link {
            other: row - 1,
            slot: NO_SLOT,
        });
        links.extend(others);
    }
    links
}
