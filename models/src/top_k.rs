//! The k best of a stream of scores, in reusable memory.

/// An item and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Item row.
    pub item: u32,
    /// Higher is better; always finite.
    pub score: f32,
}

impl Scored {
    /// Whether it ranks before another: higher score, then lower row (rows ascend with ids, so ties are reproducible).
    #[inline]
    fn before(self, other: Scored) -> bool {
        self.score > other.score || (self.score == other.score && self.item < other.item)
    }
}

/// A number that orders scores from the highest to the lowest.
#[inline]
pub(crate) fn descending(score: f32) -> u32 {
    let bits = score.to_bits();
    !(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 })
}

/// The score of a number from [`descending`].
#[inline]
pub(crate) fn ascended(number: u32) -> f32 {
    let bits = !number;
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}

/// The `k` best of some items, best first, in the order of [`TopK`]. `keys` is scratch memory. O(items + k log k).
pub(crate) fn best(items: &[u32], scores: &[f32], k: usize, keys: &mut Vec<u64>, out: &mut Vec<Scored>) {
    keys.clear();
    let finite = items.iter().zip(scores).filter(|(_, score)| score.is_finite());
    // Minus zero becomes zero, so that ties stay ties.
    keys.extend(finite.map(|(&item, &score)| u64::from(descending(score + 0.0)) << 32 | u64::from(item)));
    if keys.len() > k {
        keys.select_nth_unstable(k);
        keys.truncate(k);
    }
    keys.sort_unstable();
    out.clear();
    out.extend(keys.iter().map(|&key| Scored { item: key as u32, score: ascended((key >> 32) as u32) }));
}

/// Keeps the k best it was offered: a binary heap with the worst on top. O(log k) an accepted offer, O(1) a refused one.
#[derive(Clone, Debug, Default)]
pub struct TopK {
    k: usize,
    heap: Vec<Scored>,
}

impl TopK {
    /// For `k` results.
    pub fn new(k: usize) -> Self {
        Self { k, heap: Vec::with_capacity(k.min(4096)) }
    }

    /// Empties it for another `k`, keeping its memory.
    pub fn reset(&mut self, k: usize) {
        self.k = k;
        self.heap.clear();
    }

    /// Scores below this cannot enter; equal ones can, with a lower row.
    #[inline]
    pub fn threshold(&self) -> f32 {
        match self.heap.first() {
            Some(worst) if self.heap.len() == self.k => worst.score,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Offers one item. A score that is not finite is never taken.
    #[inline]
    pub fn offer(&mut self, item: u32, score: f32) {
        // Minus zero becomes zero, so that ties stay ties in every comparison.
        let new = Scored { item, score: score + 0.0 };
        if !score.is_finite() || self.k == 0 {
            return;
        }
        if self.heap.len() < self.k {
            self.heap.push(new);
            let mut at = self.heap.len() - 1;
            while at > 0 {
                let parent = (at - 1) / 2;
                if !self.heap[parent].before(self.heap[at]) {
                    break;
                }
                self.heap.swap(parent, at);
                at = parent;
            }
        } else if new.before(self.heap[0]) {
            self.heap[0] = new;
            let mut at = 0;
            loop {
                let (left, right) = (2 * at + 1, 2 * at + 2);
                let mut worst = at;
                for child in [left, right] {
                    if child < self.heap.len() && self.heap[worst].before(self.heap[child]) {
                        worst = child;
                    }
                }
                if worst == at {
                    break;
                }
                self.heap.swap(worst, at);
                at = worst;
            }
        }
    }

    /// The results, best first; empties it and keeps its memory.
    pub fn drain_into(&mut self, out: &mut Vec<Scored>) {
        out.clear();
        out.append(&mut self.heap);
        out.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
    }

    /// The results, best first.
    pub fn into_sorted(mut self) -> Vec<Scored> {
        let mut out = Vec::new();
        self.drain_into(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_a_full_sort(scores in prop::collection::vec(prop_oneof![Just(f32::NAN), Just(f32::INFINITY), -4.0f32..4.0, (-3i8..3).prop_map(f32::from)], 0..300), k in 0usize..40) {
            let mut top = TopK::new(k);
            scores.iter().enumerate().for_each(|(item, &score)| top.offer(item as u32, score));
            let mut all: Vec<Scored> = scores.iter().enumerate()
                .filter(|(_, score)| score.is_finite())
                .map(|(item, &score)| Scored { item: item as u32, score }).collect();
            all.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap().then(a.item.cmp(&b.item)));
            all.truncate(k);
            let found = top.into_sorted();
            prop_assert_eq!(found.len(), all.len());
            prop_assert!(found.iter().zip(&all).all(|(a, b)| a.item == b.item && a.score == b.score));
        }
    }
}
