//! A set of items as one bit each.

use aisle_math::kernels::{count_ones, simd};

/// The bits `0..len`, all other bits being unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// Makes a bitmap of `len` bits that are all `value`.
    pub fn filled(len: usize, value: bool) -> Self {
        let mut bitmap = Self {
            words: vec![if value { u64::MAX } else { 0 }; len.div_ceil(64)],
            len,
        };
        bitmap.trim();
        bitmap
    }

    /// Makes a bitmap of `len` bits, of which those for which `holds` returns true are set.
    pub fn of(len: usize, mut holds: impl FnMut(u32) -> bool) -> Self {
        let mut bitmap = Self::filled(len, false);
        for bit in 0..len as u32 {
            if holds(bit) {
                bitmap.insert(bit);
            }
        }
        bitmap
    }

    /// Clears the bits of the last word beyond the end.
    fn trim(&mut self) {
        if let Some(last) = self.words.last_mut()
            && !self.len.is_multiple_of(64)
        {
            *last &= (1u64 << (self.len % 64)) - 1;
        }
    }

    /// The number of bits, set or not.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a bit is set. A bit beyond the end is not.
    #[inline]
    pub fn contains(&self, bit: u32) -> bool {
        self.words
            .get(bit as usize / 64)
            .is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Sets a bit below `len`.
    #[inline]
    pub fn insert(&mut self, bit: u32) {
        debug_assert!((bit as usize) < self.len);
        if let Some(word) = self.words.get_mut(bit as usize / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    /// Clears a bit.
    #[inline]
    pub fn remove(&mut self, bit: u32) {
        if let Some(word) = self.words.get_mut(bit as usize / 64) {
            *word &= !(1 << (bit % 64));
        }
    }

    /// Clears the bits that are not set in `other`.
    pub fn intersect(&mut self, other: &Bitmap) {
        self.words
            .iter_mut()
            .zip(&other.words)
            .for_each(|(word, other)| *word &= other);
    }

    /// Sets the bits that are set in `other`.
    pub fn union(&mut self, other: &Bitmap) {
        self.words
            .iter_mut()
            .zip(&other.words)
            .for_each(|(word, other)| *word |= other);
    }

    /// Clears the bits that are set in `other`.
    pub fn subtract(&mut self, other: &Bitmap) {
        self.words
            .iter_mut()
            .zip(&other.words)
            .for_each(|(word, other)| *word &= !other);
    }

    /// Returns how many bits are set. O(len / 64).
    pub fn count(&self) -> usize {
        count_ones(simd(), &self.words)
    }

    /// Calls `visit` with each set bit, ascending. Faster than [`Bitmap::iter`].
    #[inline]
    pub fn list(&self, mut visit: impl FnMut(u32)) {
        for (number, &word) in self.words.iter().enumerate() {
            let mut left = word;
            while left != 0 {
                visit(number as u32 * 64 + left.trailing_zeros());
                left &= left - 1;
            }
        }
    }

    /// Returns the set bits, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'_> {
        self.words.iter().enumerate().flat_map(|(number, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros();
                    left &= left - 1;
                    number as u32 * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(
            len in 1usize..200,
            a in prop::collection::vec(0u32..200, 0..60),
            b in prop::collection::vec(0u32..200, 0..60),
        ) {
            let set = |bits: &[u32]| -> BTreeSet<u32> {
                bits.iter().copied().filter(|&bit| (bit as usize) < len).collect()
            };
            let (set_a, set_b) = (set(&a), set(&b));
            let bits_a = Bitmap::of(len, |bit| set_a.contains(&bit));
            let bits_b = Bitmap::of(len, |bit| set_b.contains(&bit));
            let after = |change: fn(&mut Bitmap, &Bitmap)| {
                let mut bits = bits_a.clone();
                change(&mut bits, &bits_b);
                bits.iter().collect::<BTreeSet<_>>()
            };
            prop_assert_eq!(after(Bitmap::intersect), &set_a & &set_b);
            prop_assert_eq!(after(Bitmap::union), &set_a | &set_b);
            prop_assert_eq!(after(Bitmap::subtract), &set_a - &set_b);
            prop_assert_eq!(bits_a.count(), set_a.len());
            prop_assert_eq!(Bitmap::filled(len, true).count(), len);
        }
    }
}
