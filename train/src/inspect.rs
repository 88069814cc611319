//! `aisle-train inspect`: what is in a log, what is wrong with it, what it can be used for.

use crate::report::{bytes, count, table};
use aisle_data::{CatalogFacts, Dataset, Inspection};
use std::fmt::Write;

/// The inspection as text.
pub fn render(facts: &Inspection, data: &Dataset) -> String {
    let mut text = String::new();
    write_size(&mut text, facts, data);
    write_event_types(&mut text, facts);
    write_orders(&mut text, facts);
    write_context(&mut text, facts);
    if let Some(catalog) = &facts.catalog {
        write_catalog(&mut text, catalog);
    }
    write_set_aside(&mut text, facts);
    write_notes(&mut text, facts);
    write_tasks(&mut text, facts);
    text
}

/// How many events, shoppers and items there are.
fn write_size(text: &mut String, facts: &Inspection, data: &Dataset) {
    let span = match (&facts.first_day, &facts.last_day) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "no dates".into(),
    };
    let size: u64 = data.inputs.iter().map(|input| input.bytes).sum();
    let _ = writeln!(
        text,
        "{} events from {} rows, {span} ({} of Parquet)",
        count(facts.events),
        count(facts.rows),
        bytes(size)
    );
    let per_user = facts.events.checked_div(facts.users as u64).unwrap_or(0);
    let _ = writeln!(
        text,
        "{} shoppers, {} items with events, {:.3} % of the matrix filled, {} events a shopper",
        count(facts.users as u64),
        count(facts.items as u64),
        100.0 * facts.density,
        count(per_user),
    );
}

/// What each event type counts.
fn write_event_types(text: &mut String, facts: &Inspection) {
    let _ = writeln!(text, "\nEvents");
    let rows: Vec<Vec<String>> = facts
        .event_types
        .iter()
        .map(|kind| {
            let half_life = kind.half_life_days.map_or("never fades".into(), |days| {
                format!("half after {days} days")
            });
            let role = format!("{:?}", kind.role).to_lowercase();
            let mean = format!("{:.3}", kind.effective_weight);
            vec![
                kind.name.clone(),
                count(kind.events),
                role,
                kind.weight.to_string(),
                half_life,
                mean,
            ]
        })
        .collect();
    *text += &table(
        &["type", "events", "as", "weight", "", "mean confidence"],
        &rows,
    );
}

/// How large orders are.
fn write_orders(text: &mut String, facts: &Inspection) {
    let orders = &facts.orders;
    let _ = writeln!(
        text,
        "\nOrders\n  {} orders, {} with two items or more; the middle one holds {}, the largest {}",
        count(orders.orders as u64),
        count(orders.with_several_items as u64),
        orders.median_items,
        count(orders.largest as u64),
    );
}

/// In which context events happened.
fn write_context(text: &mut String, facts: &Inspection) {
    if !facts.context.is_empty() {
        let _ = writeln!(text, "\nContext");
        let rows: Vec<Vec<String>> = (facts.context.iter())
            .map(|column| {
                vec![
                    column.name.clone(),
                    count(column.values as u64),
                    count(column.events),
                ]
            })
            .collect();
        *text += &table(&["dimension", "values", "events with one"], &rows);
    }
}

/// What is known of items.
fn write_catalog(text: &mut String, catalog: &CatalogFacts) {
    let _ = writeln!(
        text,
        "\nCatalogue\n  {} items: {} with title, {} with a category ({} of them), \
         {} with a price{}, {} for sale",
        count(catalog.items as u64),
        count(catalog.with_title as u64),
        count(catalog.with_category as u64),
        count(catalog.categories as u64),
        count(catalog.with_price as u64),
        if catalog.currencies.is_empty() {
            String::new()
        } else {
            format!(" ({})", catalog.currencies.join(", "))
        },
        count(catalog.available as u64),
    );
    if catalog.unknown_items > 0 {
        let _ = writeln!(
            text,
            "  {} items have events but no title or category",
            count(catalog.unknown_items as u64)
        );
    }
    if !catalog.attributes.is_empty() {
        let _ = writeln!(text, "  attributes: {}", catalog.attributes.join(", "));
    }
}

/// Which rows were set aside, and why.
fn write_set_aside(text: &mut String, facts: &Inspection) {
    let _ = writeln!(text, "\nSet aside");
    let mut rows: Vec<Vec<String>> = Vec::new();
    let catalog = facts
        .catalog
        .iter()
        .flat_map(|catalog| catalog.set_aside.iter().map(|entry| ("items", entry)));
    for (file, (reason, aside)) in facts
        .set_aside
        .iter()
        .map(|entry| ("events", entry))
        .chain(catalog)
    {
        let on_purpose = if reason.is_on_purpose() { "config" } else { "" };
        rows.push(vec![
            reason.text().into(),
            count(aside.rows),
            format!("{file}, first row {}", aside.first_row),
            on_purpose.into(),
        ]);
    }
    match rows.is_empty() {
        true => *text += "  nothing\n",
        false => *text += &table(&["reason", "rows", "where", ""], &rows),
    }
}

/// What is odd about the rows that are kept.
fn write_notes(text: &mut String, facts: &Inspection) {
    let notes = [
        (
            facts.anonymous,
            "events name no shopper: they count for orders and best sellers, not for taste",
        ),
        (
            facts.duplicates,
            "rows repeat an earlier one in every field (kept: an order line may repeat)",
        ),
        (
            facts.zero_prices,
            "events have a price of zero: they count as events, not as prices",
        ),
    ];
    for (rows, note) in notes.into_iter().filter(|(rows, _)| *rows > 0) {
        let _ = writeln!(text, "  note: {} {note}", count(rows));
    }
    if !facts.other_columns.is_empty() {
        let _ = writeln!(
            text,
            "  columns not read: {}",
            facts.other_columns.join(", ")
        );
    }
}

/// Which tasks the log can serve.
fn write_tasks(text: &mut String, facts: &Inspection) {
    let _ = writeln!(text, "\nCan serve");
    for task in &facts.tasks {
        let _ = writeln!(
            text,
            "  {} {:<11} {}",
            if task.served { "yes" } else { "no " },
            task.task,
            task.because
        );
    }
}
