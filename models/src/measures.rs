//! Numbers in titles: "3 TIER", "22 LB", "PACK OF 12", "500ML". What two items count in the same unit can be compared.

use aisle_data::{Catalog, IdMap};

/// For each item its numbers by unit.
#[derive(Default)]
pub(crate) struct Measures {
    units: IdMap,
    offsets: Vec<u32>,
    /// Unit, ascending within an item, and number.
    values: Vec<(u32, f32)>,
}

/// What two items differ in, counted in one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The unit as the titles write it.
    pub unit: String,
    /// Of the first item.
    pub from: f32,
    /// Of the second.
    pub to: f32,
}

/// Longest word that is a unit.
const LONGEST: usize = 12;

/// The numbers of a title with the words that follow them, upper case.
fn numbers(title: &str) -> Vec<(String, f32)> {
    let words: Vec<&str> = title.split(|c: char| !(c.is_alphanumeric() || c == '.')).filter(|word| !word.is_empty()).collect();
    let mut found: Vec<(String, f32)> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let digits = word.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(word.len());
        let (number, rest) = word.split_at(digits);
        let Ok(number) = number.parse::<f32>() else { continue };
        // "PACK OF 12" counts packs; "500ML" and "3 TIER" say their unit.
        let before = at.checked_sub(2).and_then(|place| words[at - 1].eq_ignore_ascii_case("of").then(|| words[place]));
        let after = words.get(at + 1).copied().filter(|word| word.starts_with(char::is_alphabetic));
        let Some(unit) = Some(rest).filter(|rest| !rest.is_empty()).or(before).or(after) else { continue };
        let unit = unit.to_uppercase();
        let plain = unit.len() > 3 && unit.ends_with('S');
        let unit = if plain { unit[..unit.len() - 1].to_string() } else { unit };
        if unit.len() <= LONGEST && number > 0.0 && number < 1e6 && found.iter().all(|(known, _)| *known != unit) {
            found.push((unit, number));
        }
    }
    found
}

impl Measures {
    pub fn of(catalog: &Catalog) -> Self {
        let mut measures = Self { offsets: vec![0], ..Self::default() };
        for item in 0..catalog.len() as u32 {
            let first = measures.values.len();
            for (unit, number) in catalog.title.get(item).map(numbers).unwrap_or_default() {
                let unit = measures.units.intern(&unit);
                measures.values.push((unit, number));
            }
            measures.values[first..].sort_by_key(|value| value.0);
            measures.offsets.push(measures.values.len() as u32);
        }
        measures
    }

    fn item(&self, item: u32) -> &[(u32, f32)] {
        &self.values[self.offsets[item as usize] as usize..self.offsets[item as usize + 1] as usize]
    }

    /// What both count, in the order of units' first appearance.
    fn shared(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, f32, f32)> + '_ {
        let from = self.item(from);
        // Most titles count nothing.
        let to = if from.is_empty() { from } else { self.item(to) };
        from.iter().filter_map(move |&(unit, number)| {
            to.binary_search_by_key(&unit, |value| value.0).ok().map(|at| (unit, number, to[at].1))
        })
    }

    /// ln of how many times the first unit that both have; `None` if they have none in common.
    pub fn growth(&self, from: u32, to: u32) -> Option<f32> {
        self.shared(from, to).next().map(|(_, from, to)| (to / from).ln())
    }

    /// What the two differ in.
    pub fn steps(&self, from: u32, to: u32) -> Vec<Step> {
        let step = |(unit, from, to): (u32, f32, f32)| Step { unit: self.units.id(unit).to_string(), from, to };
        self.shared(from, to).filter(|(_, from, to)| from != to).map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::Labels;

    #[test]
    fn what_titles_count_is_compared() {
        let titles = ["CAKESTAND 2 TIER", "3 tiers CAKE TIN", "PACK OF 12 CARDS", "pack of 6 cards, 500ML", "No. 7", "1.5 L 1.5 L"];
        let mut catalog = Catalog::unknown(titles.len());
        catalog.title = Labels::default();
        titles.iter().for_each(|title| catalog.title.push(Some(title)));
        let measures = Measures::of(&catalog);
        assert_eq!(measures.steps(0, 1), [Step { unit: "TIER".into(), from: 2.0, to: 3.0 }]);
        assert_eq!(measures.steps(2, 3), [Step { unit: "PACK".into(), from: 12.0, to: 6.0 }]);
        assert_eq!(measures.growth(3, 2), Some(2f32.ln()));
        assert_eq!((measures.growth(0, 4), measures.growth(5, 5)), (None, Some(0.0)));
    }
}
