//! Activations, element by element and in place.

/// `x = tanh(x)`; any shape.
pub fn tanh(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = x.tanh());
}

/// `x = 1 / (1 + exp(-x))`; any shape.
pub fn sigmoid(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = logistic(*x));
}

/// `x = max(x, 0)^2`; any shape.
pub fn relu_squared(x: &mut [f32]) {
    for x in x {
        // Not `f32::max`, which would turn what is not a number into 0 and so hide a broken weight.
        let positive = if *x < 0.0 { 0.0 } else { *x };
        *x = positive * positive;
    }
}

/// The logistic function. For x below -88 `exp` overflows to infinity, whose reciprocal is the right answer, 0.
#[inline(always)]
pub(super) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_and_extremes() {
        let mut x = [0.0, 3f32.ln(), -1000.0, 1000.0];
        sigmoid(&mut x);
        assert!((x[1] - 0.75).abs() < 1e-7);
        assert_eq!((x[0], x[2], x[3]), (0.5, 0.0, 1.0));

        let mut x = [-2.0, 0.0, 3.0];
        relu_squared(&mut x);
        assert_eq!(x, [0.0, 0.0, 9.0]);

        let mut x = [0.0, 0.5f32 * 3f32.ln(), -1000.0];
        tanh(&mut x);
        assert!((x[1] - 0.5).abs() < 1e-7);
        assert_eq!((x[0], x[2]), (0.0, -1.0));
    }

    #[test]
    fn not_a_number_stays_not_a_number() {
        for activation in [sigmoid, tanh, relu_squared] {
            let mut x = [f32::NAN];
            activation(&mut x);
            assert!(x[0].is_nan());
        }
    }
}
