//! How well probabilities agree with what then happened.

use super::Figure;

/// Bins that predictions are put into, of equal numbers of predictions.
const BINS: usize = 10;

/// A predicted probability, and whether the predicted event happened.
pub(super) type Prediction = (f64, bool);

/// The expected calibration error of predictions over ten bins of equal size, the mean prediction,
/// and the share that happened. O(n log n).
pub(super) fn figures(mut predictions: Vec<Prediction>, what: &str) -> [Figure; 3] {
    predictions.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (predicted, happened) = means(&predictions);
    let bin = predictions.len().div_ceil(BINS).max(1);
    let error_of_bin = |bin: &[Prediction]| {
        let (predicted, happened) = means(bin);
        (predicted - happened).abs() * bin.len() as f64
    };
    let error = predictions.chunks(bin).map(error_of_bin).sum::<f64>();
    let error = error / predictions.len().max(1) as f64;
    [
        Figure::new(format!("calibration error of {what}"), error),
        Figure::new("mean probability predicted", predicted),
        Figure::new("mean share that happened", happened),
    ]
}

/// The mean prediction, and the share that happened.
fn means(predictions: &[Prediction]) -> (f64, f64) {
    let count = predictions.len().max(1) as f64;
    let predicted = predictions.iter().map(|one| one.0).sum::<f64>() / count;
    let happened = predictions.iter().filter(|one| one.1).count() as f64 / count;
    (predicted, happened)
}
