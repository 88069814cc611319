//! `aisle-train inspect`: what is in a log, what is wrong with it, what it can be used for.

use crate::report::{bytes, count, table};
use aisle_data::{Dataset, Inspection};
use std::fmt::Write;

/// The inspection as text.
pub fn render(facts: &Inspection, data: &Dataset) -> String {
    let mut out = String::new();
    let span = match (&facts.first_day, &facts.last_day) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "no dates".into(),
    };
    let size: u64 = data.inputs.iter().map(|input| input.bytes).sum();
    let _ = writeln!(out, "{} events from {} rows, {span} ({} of Parquet)", count(facts.events), count(facts.rows), bytes(size));
    let per_user = facts.events.checked_div(facts.users as u64).unwrap_or(0);
    let _ = writeln!(
        out,
        "{} shoppers, {} items with events, {:.3} % of the matrix filled, {} events a shopper",
        count(facts.users as u64),
        count(facts.items as u64),
        100.0 * facts.density,
        count(per_user),
    );

    let _ = writeln!(out, "\nEvents");
    let rows: Vec<Vec<String>> = facts
        .event_types
        .iter()
        .map(|kind| {
            let half_life = kind.half_life_days.map_or("never fades".into(), |days| format!("half after {days} days"));
            let role = format!("{:?}", kind.role).to_lowercase();
            let mean = format!("{:.3}", kind.effective_weight);
            vec![kind.name.clone(), count(kind.events), role, kind.weight.to_string(), half_life, mean]
        })
        .collect();
    out += &table(&["type", "events", "as", "weight", "", "mean confidence"], &rows);

    let orders = &facts.orders;
    let _ = writeln!(
        out,
        "\nOrders\n  {} orders, {} with two items or more; the middle one holds {}, the largest {}",
        count(orders.orders as u64),
        count(orders.with_several_items as u64),
        orders.median_items,
        count(orders.largest as u64),
    );

    if !facts.context.is_empty() {
        let _ = writeln!(out, "\nCircumstances");
        let rows: Vec<Vec<String>> = (facts.context.iter())
            .map(|column| vec![column.name.clone(), count(column.values as u64), count(column.events)])
            .collect();
        out += &table(&["dimension", "values", "events with one"], &rows);
    }

    if let Some(catalog) = &facts.catalog {
        let _ = writeln!(
            out,
            "\nCatalogue\n  {} items: {} with title, {} with a category ({} of them), {} with a price{}, {} for sale",
            count(catalog.items as u64),
            count(catalog.with_title as u64),
            count(catalog.with_category as u64),
            count(catalog.categories as u64),
            count(catalog.with_price as u64),
            if catalog.currencies.is_empty() { String::new() } else { format!(" ({})", catalog.currencies.join(", ")) },
            count(catalog.available as u64),
        );
        if catalog.unknown_items > 0 {
            let _ = writeln!(out, "  {} items have events but no title or category", count(catalog.unknown_items as u64));
        }
        if !catalog.attributes.is_empty() {
            let _ = writeln!(out, "  attributes: {}", catalog.attributes.join(", "));
        }
    }

    let _ = writeln!(out, "\nSet aside");
    let mut rows: Vec<Vec<String>> = Vec::new();
    let catalog = facts.catalog.iter().flat_map(|catalog| catalog.set_aside.iter().map(|entry| ("items", entry)));
    for (file, (reason, aside)) in facts.set_aside.iter().map(|entry| ("events", entry)).chain(catalog) {
        let on_purpose = if reason.is_on_purpose() { "config" } else { "" };
        rows.push(vec![
            reason.words().into(),
            count(aside.rows),
            format!("{file}, first row {}", aside.first_row),
            on_purpose.into(),
        ]);
    }
    match rows.is_empty() {
        true => out += "  nothing\n",
        false => out += &table(&["reason", "rows", "where", ""], &rows),
    }
    let notes = [
        (facts.anonymous, "events name no shopper: they count for orders and best sellers, not for taste"),
        (facts.duplicates, "rows repeat an earlier one in every field (kept: an order line may repeat)"),
        (facts.zero_prices, "events have a price of zero: they count as events, not as prices"),
    ];
    for (rows, note) in notes.into_iter().filter(|(rows, _)| *rows > 0) {
        let _ = writeln!(out, "  note: {} {note}", count(rows));
    }
    if !facts.other_columns.is_empty() {
        let _ = writeln!(out, "  columns not read: {}", facts.other_columns.join(", "));
    }

    let _ = writeln!(out, "\nCan serve");
    for task in &facts.tasks {
        let _ = writeln!(out, "  {} {:<11} {}", if task.served { "yes" } else { "no " }, task.task, task.because);
    }
    out
}
