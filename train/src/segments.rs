//! `aisle-train segments`: the groups of shoppers of a version, as a table.

use crate::report::{count, table_with_text};
use aisle_models::{Manifest, Segment};
use std::fmt::Write;

const HEADER: [&str; 7] = [
    "segment",
    "shoppers",
    "share",
    "orders",
    "days since",
    "spend",
    "more than others",
];

/// Writes one row for each segment: the named ones by name, then the learned ones by descending
/// spend.
pub fn render(manifest: &Manifest) -> String {
    let (list, shoppers) = (&manifest.segments, manifest.counts.users);
    let settings = &manifest.hyperparameters.segments;
    let mut text = String::new();
    if list.published.is_empty() {
        let _ = writeln!(
            text,
            "no segments: of {} shoppers none were put into groups",
            count(shoppers as u64)
        );
    } else {
        let rows = list.published.iter().map(|segment| row(segment, shoppers));
        let rows: Vec<Vec<String>> = rows.collect();
        text += &table_with_text(&HEADER, &rows, &[0, HEADER.len() - 1]);
        text += "orders, days since the last one, and spend are medians\n";
    }
    for segment in &list.published {
        if let Some(condition) = &segment.condition {
            let _ = writeln!(text, "{}: {condition}", segment.name);
        }
    }
    let withheld = &list.withheld;
    if !withheld.named.is_empty() {
        let _ = writeln!(
            text,
            "not published, with fewer than {} shoppers: {}",
            settings.min_shoppers,
            withheld.named.join(", ")
        );
    }
    if withheld.learned > 0 {
        let _ = writeln!(
            text,
            "{} learned segments have fewer than {} shoppers and are not published",
            withheld.learned, settings.min_shoppers
        );
    }
    text
}

/// The cells of one segment.
fn row(segment: &Segment, shoppers: usize) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or("-".into(), |value| count(value.round() as u64));
    let favourites: Vec<String> = segment
        .favourites
        .iter()
        .map(|favourite| format!("{} ×{:.1}", favourite.category, favourite.lift))
        .collect();
    vec![
        segment.name.clone(),
        count(segment.shoppers as u64),
        format!(
            "{:.1} %",
            100.0 * segment.shoppers as f64 / shoppers.max(1) as f64
        ),
        number(Some(segment.orders)),
        number(segment.days_since),
        number(segment.spend),
        favourites.join(", "),
    ]
}
