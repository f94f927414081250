//! What becomes of the recurrence's output: the bonus for the present token, the gate, the way back to the residual.

use super::parallel::for_each_row;

/// `y = y + v * sum(r * k * r_k)`, the sum over each head. Shapes: y, r, k and v `[tokens, heads, head_size]`, r_k
/// `[heads, head_size]`.
///
/// k is the scaled key and v the blended value, as they entered the recurrence; y comes out of the group norm.
///
/// # Panics
/// If the lengths disagree.
pub fn bonus(y: &mut [f32], r: &[f32], k: &[f32], v: &[f32], r_k: &[f32], head_size: usize) {
    let width = r_k.len();
    assert_eq!([y.len(); 3], [r.len(), k.len(), v.len()]);
    for_each_row(y, width, 4 * width, |token, y| {
        for (head, y) in y.chunks_exact_mut(head_size).enumerate() {
            let at = token * width + head * head_size;
            let (r, k, v) = (
                &r[at..][..head_size],
                &k[at..][..head_size],
                &v[at..][..head_size],
            );
            let r_k = &r_k[head * head_size..][..head_size];
            let weight: f32 = r
                .iter()
                .zip(k)
                .zip(r_k)
                .map(|((r, k), r_k)| r * k * r_k)
                .sum();
            y.iter_mut().zip(v).for_each(|(y, v)| *y += weight * v);
        }
    });
}

/// `y = y * g`, element by element; any shape.
///
/// # Panics
/// If the lengths disagree.
pub fn gate(y: &mut [f32], g: &[f32]) {
    assert_eq!(y.len(), g.len());
    y.iter_mut().zip(g).for_each(|(y, g)| *y *= g);
}

/// `x = x + branch`, element by element; any shape.
///
/// # Panics
/// If the lengths disagree.
pub fn residual(x: &mut [f32], branch: &[f32]) {
    assert_eq!(x.len(), branch.len());
    x.iter_mut()
        .zip(branch)
        .for_each(|(x, branch)| *x += branch);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bonus_weighs_each_head_apart() {
        let mut y = [1.0, 1.0, 1.0, 1.0];
        bonus(
            &mut y,
            &[1.0, 2.0, 1.0, 1.0],
            &[1.0, 3.0, 1.0, 1.0],
            &[1.0, 10.0, 1.0, 1.0],
            &[1.0, 0.5, 0.0, 0.0],
            2,
        );
        assert_eq!(y, [5.0, 41.0, 1.0, 1.0]);
    }

    #[test]
    fn gate_and_residual() {
        let mut y = [1.0, 2.0];
        gate(&mut y, &[3.0, 0.5]);
        residual(&mut y, &[1.0, -1.0]);
        assert_eq!(y, [4.0, 0.0]);
    }
}
