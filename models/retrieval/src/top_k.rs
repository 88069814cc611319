//! The k best of some scores, in reusable memory.

/// An item and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The row of the item.
    pub item: u32,
    /// Higher is better; always finite.
    pub score: f32,
}

impl Scored {
    /// Whether it ranks before another: it has a higher score, or the same and a lower row. Rows
    /// ascend with ids, so ties are reproducible.
    #[inline]
    fn ranks_before(self, other: Scored) -> bool {
        self.score > other.score || (self.score == other.score && self.item < other.item)
    }
}

/// Returns a number that orders scores from the highest to the lowest.
#[inline]
fn sort_key(score: f32) -> u32 {
    let bits = score.to_bits();
    !(if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    })
}

/// Returns the score of a number from [`sort_key`].
#[inline]
fn score_of_key(number: u32) -> f32 {
    let bits = !number;
    f32::from_bits(if bits >> 31 == 1 {
        bits & !(1 << 31)
    } else {
        !bits
    })
}

/// Writes the `k` best of some items to `out`, best first, in the order of [`TopK`]. Scores that
/// are not finite are left out. `keys` is scratch memory. O(items + k log k).
pub fn best(items: &[u32], scores: &[f32], k: usize, keys: &mut Vec<u64>, out: &mut Vec<Scored>) {
    keys.clear();
    let finite = items
        .iter()
        .zip(scores)
        .filter(|(_, score)| score.is_finite());
    // Minus zero becomes zero, so that ties stay ties.
    keys.extend(
        finite.map(|(&item, &score)| u64::from(sort_key(score + 0.0)) << 32 | u64::from(item)),
    );
    if keys.len() > k {
        keys.select_nth_unstable(k);
        keys.truncate(k);
    }
    keys.sort_unstable();
    out.clear();
    out.extend(keys.iter().map(|&key| Scored {
        item: key as u32,
        score: score_of_key((key >> 32) as u32),
    }));
}

/// Keeps the k best of the items that it is offered, in a binary heap with the worst on top. An
/// offer costs O(log k) if it is accepted, else O(1).
#[derive(Clone, Debug, Default)]
pub struct TopK {
    k: usize,
    heap: Vec<Scored>,
}

impl TopK {
    /// Makes an empty one for `k` results.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            heap: Vec::with_capacity(k.min(4096)),
        }
    }

    /// Empties it for another `k`, keeping its memory.
    pub fn reset(&mut self, k: usize) {
        self.k = k;
        self.heap.clear();
    }

    /// The score of the worst of k items, else minus infinity. Lower scores cannot enter; an equal
    /// one can, with a lower row.
    #[inline]
    pub fn threshold(&self) -> f32 {
        match self.heap.first() {
            Some(worst) if self.heap.len() == self.k => worst.score,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Takes an item if it is among the k best so far. A score that is not finite never is.
    #[inline]
    pub fn offer(&mut self, item: u32, score: f32) {
        // Minus zero becomes zero, so that ties stay ties in every comparison.
        let new = Scored {
            item,
            score: score + 0.0,
        };
        if !score.is_finite() || self.k == 0 {
            return;
        }
        if self.heap.len() < self.k {
            self.heap.push(new);
            self.sift_up();
        } else if new.ranks_before(self.heap[0]) {
            self.heap[0] = new;
            self.sift_down();
        }
    }

    /// Moves the last item up until no parent ranks before its children.
    #[inline]
    fn sift_up(&mut self) {
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.heap[parent].ranks_before(self.heap[at]) {
                break;
            }
            self.heap.swap(parent, at);
            at = parent;
        }
    }

    /// Moves the first item down until no parent ranks before its children.
    #[inline]
    fn sift_down(&mut self) {
        let mut at = 0;
        loop {
            let mut worst = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.heap[worst].ranks_before(self.heap[child]) {
                    worst = child;
                }
            }
            if worst == at {
                break;
            }
            self.heap.swap(at, worst);
            at = worst;
        }
    }

    /// Moves the results to `out`, best first. It is empty then, and keeps its memory.
    pub fn drain_into(&mut self, out: &mut Vec<Scored>) {
        out.clear();
        out.append(&mut self.heap);
        out.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
    }

    /// Returns the results, best first.
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
        fn equals_a_full_sort(
            scores in prop::collection::vec(
                prop_oneof![
                    Just(f32::NAN),
                    Just(f32::INFINITY),
                    -4.0f32..4.0,
                    (-3i8..3).prop_map(f32::from),
                ],
                0..300,
            ),
            k in 0usize..40,
        ) {
            let mut top = TopK::new(k);
            let mut all: Vec<Scored> = Vec::new();
            for (item, &score) in (0..).zip(&scores) {
                top.offer(item, score);
                all.push(Scored { item, score });
            }
            all.retain(|scored| scored.score.is_finite());
            all.sort_by(|a, b| {
                b.score.partial_cmp(&a.score).unwrap().then(a.item.cmp(&b.item))
            });
            all.truncate(k);
            let found = top.into_sorted();
            prop_assert_eq!(found.len(), all.len());
            let mut pairs = found.iter().zip(&all);
            prop_assert!(pairs.all(|(a, b)| a.item == b.item && a.score == b.score));
        }
    }
}
