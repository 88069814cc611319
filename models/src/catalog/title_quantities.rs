//! Quantities in titles: "3 TIER", "22 LB", "PACK OF 12", "500ML". Two items that state a quantity
//! in the same unit can be compared.

use aisle_data::{Catalog, IdMap};

/// The quantities that each item's title states.
#[derive(Default)]
pub(crate) struct TitleQuantities {
    /// The units, upper case, in the order of their first appearance.
    units: IdMap,
    /// `items + 1` positions into `quantities`.
    offsets: Vec<u32>,
    /// Unit and number, by ascending unit within an item.
    quantities: Vec<(u32, f32)>,
}

/// A quantity in which two items differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The unit as titles write it, in upper case.
    pub unit: String,
    /// How many of it the first item has.
    pub from: f32,
    /// How many of it the second item has.
    pub to: f32,
}

/// Longest word that is taken for a unit, in bytes.
const MAX_UNIT: usize = 12;

/// The quantities of a title as (unit in upper case, number). Of a unit that is stated twice the
/// first quantity counts.
fn title_quantities(title: &str) -> Vec<(String, f32)> {
    let words: Vec<&str> = title
        .split(|c: char| !(c.is_alphanumeric() || c == '.'))
        .filter(|word| !word.is_empty())
        .collect();
    let mut found: Vec<(String, f32)> = Vec::new();
    for at in 0..words.len() {
        let Some((unit, number)) = quantity_at(&words, at) else {
            continue;
        };
        if found.iter().all(|(known, _)| *known != unit) {
            found.push((unit, number));
        }
    }
    found
}

/// The quantity whose number a word of a title is, or begins with.
fn quantity_at(words: &[&str], at: usize) -> Option<(String, f32)> {
    let word = words[at];
    let digits = word
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(word.len());
    let (number, attached) = word.split_at(digits);
    let number = number.parse::<f32>().ok()?;
    // "PACK OF 12" counts packs; "500ML" and "3 TIER" state their unit.
    let before_of = at
        .checked_sub(2)
        .filter(|_| words[at - 1].eq_ignore_ascii_case("of"))
        .map(|place| words[place]);
    let following = words
        .get(at + 1)
        .copied()
        .filter(|word| word.starts_with(char::is_alphabetic));
    let attached = Some(attached).filter(|attached| !attached.is_empty());
    let mut unit = attached.or(before_of).or(following)?.to_uppercase();
    let is_plural = unit.len() > 3 && unit.ends_with('S');
    if is_plural {
        unit.pop();
    }
    (unit.len() <= MAX_UNIT && number > 0.0 && number < 1e6).then_some((unit, number))
}

impl TitleQuantities {
    /// Reads the titles of a catalogue. O(characters of the titles).
    pub fn of(catalog: &Catalog) -> Self {
        let mut all = Self {
            offsets: vec![0],
            ..Self::default()
        };
        for item in 0..catalog.len() as u32 {
            let first = all.quantities.len();
            let title = catalog.title.get(item).unwrap_or_default();
            for (unit, number) in title_quantities(title) {
                let unit = all.units.intern(&unit);
                all.quantities.push((unit, number));
            }
            all.quantities[first..].sort_by_key(|&(unit, _)| unit);
            all.offsets.push(all.quantities.len() as u32);
        }
        all
    }

    fn of_item(&self, item: u32) -> &[(u32, f32)] {
        let item = item as usize;
        &self.quantities[self.offsets[item] as usize..self.offsets[item + 1] as usize]
    }

    /// The units that both items state, with the number of each, in the order of the units' first
    /// appearance.
    fn shared(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, f32, f32)> + '_ {
        let from = self.of_item(from);
        // Most titles state no quantity.
        let to = if from.is_empty() {
            from
        } else {
            self.of_item(to)
        };
        from.iter().filter_map(move |&(unit, number)| {
            to.binary_search_by_key(&unit, |&(unit, _)| unit)
                .ok()
                .map(|at| (unit, number, to[at].1))
        })
    }

    /// ln of how many times as much the second item has of the first unit that both state; `None`
    /// if they share no unit.
    pub fn growth(&self, from: u32, to: u32) -> Option<f32> {
        self.shared(from, to)
            .next()
            .map(|(_, from, to)| (to / from).ln())
    }

    /// The quantities in which the two items differ.
    pub fn steps(&self, from: u32, to: u32) -> Vec<Step> {
        let step = |(unit, from, to): (u32, f32, f32)| Step {
            unit: self.units.id(unit).to_string(),
            from,
            to,
        };
        self.shared(from, to)
            .filter(|(_, from, to)| from != to)
            .map(step)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::Labels;

    fn quantities_of(titles: &[&str]) -> TitleQuantities {
        let mut catalog = Catalog::unknown(titles.len());
        catalog.title = Labels::default();
        for title in titles {
            catalog.title.push(Some(title));
        }
        TitleQuantities::of(&catalog)
    }

    fn step(unit: &str, from: f32, to: f32) -> Step {
        let unit = unit.to_string();
        Step { unit, from, to }
    }

    #[test]
    fn titles_differ_in_quantities_of_the_same_unit() {
        let quantities = quantities_of(&["CAKESTAND 2 TIER", "3 tiers CAKE TIN"]);
        assert_eq!(quantities.steps(0, 1), [step("TIER", 2.0, 3.0)]);
    }

    #[test]
    fn pack_of_counts_packs() {
        let quantities = quantities_of(&["PACK OF 12 CARDS", "pack of 6 cards, 500ML"]);
        assert_eq!(quantities.steps(0, 1), [step("PACK", 12.0, 6.0)]);
        assert_eq!(quantities.growth(1, 0), Some(2f32.ln()));
    }

    #[test]
    fn a_number_without_a_unit_is_no_quantity() {
        let quantities = quantities_of(&["CAKESTAND 2 TIER", "No. 7"]);
        assert_eq!(quantities.growth(0, 1), None);
    }

    #[test]
    fn a_repeated_quantity_counts_once() {
        let quantities = quantities_of(&["1.5 L 1.5 L"]);
        assert_eq!(quantities.growth(0, 0), Some(0.0));
    }
}
