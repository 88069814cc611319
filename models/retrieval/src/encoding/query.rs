//! A query in codes.

use super::items::EncodedItems;
use super::quantize::quantize;
use crate::int8::{QueryCodes, ScoreLimit, ZERO};
use crate::length::{has_direction, length_of, peak_of, round_up, square_of};

/// A query as the scan needs it. It keeps its memory from one query to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct EncodedQuery {
    /// The query in the basis of the items.
    rotated: Vec<f32>,
    pub codes: QueryCodes,
    /// |q|.
    pub length: f32,
    /// |q − q̂| with what rounding in f32 adds, and |q̂|: what multiplies |x| and |x − x̂|.
    pub slack: [f32; 2],
}

impl EncodedQuery {
    /// Codes a query for a scan of `items`. Returns false if its length allows no bounds.
    /// O(depth²).
    pub fn encode(&mut self, items: &EncodedItems, query: &[f32]) -> bool {
        let length = length_of(query);
        if !has_direction(length) {
            return false;
        }
        items.rotation().rotate(query, &mut self.rotated);
        let scale = peak_of(&self.rotated) / items.level().largest_code();
        let inverse_scale = 1.0 / scale;
        let codes = &mut self.codes;
        codes.scale = scale;
        codes.quads.clear();
        codes.starts.clear();
        codes.tails.clear();
        let (mut errors, mut squares) = (0f64, 0f64);
        let mut square_left = square_of(&self.rotated);
        for stage in items.stages() {
            let values = &self.rotated[stage.dimensions(items.depth())];
            let mut sum = 0i32;
            for four in values.chunks(4) {
                let mut quad = [0u8; 4];
                let of_quad = quantize(four, inverse_scale, |at, code| quad[at] = code);
                (errors, squares) = (errors + of_quad.errors, squares + of_quad.codes);
                sum += quad.iter().map(|&code| i32::from(code as i8)).sum::<i32>();
                codes.quads.push(i32::from_le_bytes(quad));
            }
            square_left -= square_of(values);
            codes.starts.push(-i32::from(ZERO) * sum);
            let length_left = square_left.max(0.0).sqrt() * (1.0 + 1e-5);
            codes.tails.push(round_up(
                f64::from(stage.tail_unit) * length_left / f64::from(scale),
            ));
        }
        self.length = length as f32;
        // The f32 sum of d products is off by at most d ε |q| |x|; the bounds themselves are a few
        // operations more.
        let operations = query.len() as f64 + 64.0;
        let rounding = (operations * f64::from(f32::EPSILON) + items.rotation().error()) * length;
        let scale = f64::from(scale);
        self.slack = [
            round_up(errors.sqrt() * scale + rounding),
            round_up(squares.sqrt() * scale),
        ];
        true
    }

    /// What the sum of an item must reach so that its score can reach the threshold.
    pub fn limit(&self, is_cosine: bool, threshold: f32) -> ScoreLimit {
        let scale = self.codes.scale;
        ScoreLimit {
            // Finite where it is negative, because it may be multiplied by a length of zero.
            threshold: (threshold / scale).max(f32::MIN),
            slack: self.slack.map(|slack| slack / scale),
            is_cosine,
        }
    }
}
