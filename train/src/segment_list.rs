//! Who is in which segment, as Parquet: the audience of a mailing, or the segments that another system should know.

use aisle_models::{Bundle, write_table};
use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, StringArray};
use std::path::Path;
use std::sync::Arc;

/// Writes `user_id` and `segment`, a row for each shopper and segment, ordered by user_id and segment; of one segment, or of all. Returns the
/// rows written.
///
/// # Errors
/// An unknown segment is answered with the names that there are.
pub fn write(bundle: &Bundle, segment: Option<&str>, out: &Path) -> Result<usize> {
    let segments = bundle.segments();
    let wanted = match segment {
        None => None,
        Some(name) => match segments.number(name) {
            Some(number) => Some(number),
            None => {
                let known: Vec<&str> = segments.names().collect();
                bail!(
                    "version {} has no segment '{name}'; there are: {}",
                    bundle.version,
                    if known.is_empty() { "none".into() } else { known.join("; ") }
                );
            }
        },
    };
    let name = |number: u32| segments.describe(number).map_or("", |segment| segment.name.as_str());
    let mut rows: Vec<(&str, &str)> = (0..bundle.users.len() as u32)
        .flat_map(|user| segments.of(user).iter().map(move |&number| (user, number)))
        .filter(|&(_, number)| wanted.is_none_or(|wanted| wanted == number))
        .map(|(user, number)| (bundle.users.id(user), name(number)))
        .collect();
    rows.sort_unstable();
    let columns: Vec<(String, ArrayRef)> = vec![
        ("user_id".into(), Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)))),
        ("segment".into(), Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)))),
    ];
    let temporary = out.with_extension("parquet.writing");
    write_table(&temporary, columns)?;
    std::fs::rename(&temporary, out).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(rows.len())
}
