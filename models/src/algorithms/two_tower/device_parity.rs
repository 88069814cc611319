//! Compares what a device computes with what the processor cores compute.

use crate::algorithms::two_tower::gradients::Gradients;
use crate::error::Result;
use aisle_retrieval::RetrievalError;

/// Largest difference allowed, relative to the largest number of the cores.
const TOLERANCE: f64 = 1e-3;
/// A smaller number is not divided by.
const SMALLEST: f32 = 1e-12;

/// Refuses a device whose loss or gradients of a batch differ from those of the cores.
///
/// # Errors
/// [`crate::ModelError::Device`] with the difference.
pub(super) fn check_device(on_device: &Gradients, on_cores: &Gradients) -> Result<()> {
    let differences = [
        relative_difference(&on_device.items, &on_cores.items),
        relative_difference(&on_device.users, &on_cores.users),
        relative_difference(&on_device.histories, &on_cores.histories),
        relative_difference(&on_device.dense, &on_cores.dense),
    ];
    let loss =
        (on_device.loss - on_cores.loss).abs() / on_cores.loss.abs().max(f64::from(SMALLEST));
    let worst = differences.into_iter().fold(loss, f64::max);
    if worst <= TOLERANCE {
        return Ok(());
    }
    let detail = format!(
        "loss or gradients of the first batch differ from the CPU's by {worst:.1e} of the \
         largest, {TOLERANCE:.0e} is allowed"
    );
    Err(RetrievalError::Device { detail }.into())
}

/// Returns the largest difference of two lists over the largest number of the second; infinity if a
/// number is NaN.
fn relative_difference(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected
        .iter()
        .fold(SMALLEST, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).fold(0f32, |most, (a, b)| {
        if (a - b).is_nan() {
            f32::INFINITY
        } else {
            most.max((a - b).abs())
        }
    });
    f64::from(difference / largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradients(items: [f32; 2]) -> Gradients {
        Gradients {
            loss: 1.0,
            items: items.to_vec(),
            users: vec![1.0],
            histories: vec![1.0],
            dense: vec![1.0],
        }
    }

    #[test]
    fn rounding_errors_are_allowed() {
        assert!(check_device(&gradients([2.0001, 0.0]), &gradients([2.0, 0.0])).is_ok());
    }

    #[test]
    fn another_gradient_is_refused() {
        let error = check_device(&gradients([2.1, 0.0]), &gradients([2.0, 0.0])).unwrap_err();
        assert!(error.to_string().contains("5.0e-2"), "{error}");
    }

    #[test]
    fn a_gradient_that_is_not_a_number_is_refused() {
        assert!(check_device(&gradients([f32::NAN, 0.0]), &gradients([2.0, 0.0])).is_err());
    }
}
