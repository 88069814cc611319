//! The report as one HTML file: plots are inline SVG, nothing is loaded from anywhere.

use super::{Evaluation, short, signed, verdict};
use crate::report::{bytes, count, peak_rss, seconds};
use aisle_models::metrics::interval;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:right;\
border-bottom:1px solid #e4e4e4}td:first-child,th:first-child{text-align:left}tr.first{font-weight:600}.muted{color:#666}\
svg text{font:13px system-ui,sans-serif;fill:#222}.better{color:#0a6b2d}.worse{color:#a11919}pre{white-space:pre-wrap;background:#f6f6f6;\
padding:.7rem;font-size:13px}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn table(header: &[String], rows: &[Vec<String>], first: &str) -> String {
    let cells = |tag: &str, cells: &[String]| cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>")).collect::<String>();
    let mut text = format!("<table><tr>{}</tr>\n", cells("th", header));
    for (at, row) in rows.iter().enumerate() {
        text += &format!("<tr{}>{}</tr>\n", if at == 0 { first } else { "" }, cells("td", row));
    }
    text + "</table>\n"
}

/// Name, value, and its interval if it has one.
type Bar = (String, f64, Option<(f64, f64)>);

/// A horizontal bar a row: name, value, and the interval as a line if there is one; `own` marks the first.
fn bars(rows: &[Bar], own: bool) -> String {
    const LEFT: f64 = 260.0;
    const WIDTH: f64 = 420.0;
    const LINE: f64 = 26.0;
    let most = rows.iter().map(|row| row.2.map_or(row.1, |interval| interval.1)).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| LEFT + WIDTH * value.max(0.0) / most;
    let mut text = format!("<svg role=\"img\" width=\"{}\" height=\"{}\">\n", LEFT + WIDTH + 90.0, LINE * rows.len() as f64 + 4.0);
    for (at, (name, value, interval)) in rows.iter().enumerate() {
        let y = LINE * at as f64 + 4.0;
        let middle = y + 9.0;
        let colour = if own && at == 0 { "#2458a6" } else { "#a9bcd8" };
        text += &format!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, y + 14.0, escaped(name));
        text += &format!("<rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"18\" fill=\"{colour}\"/>", scale(*value) - LEFT);
        let mut end = scale(*value);
        if let Some((low, high)) = interval {
            let (from, to) = (scale(*low), scale(*high));
            text += &format!(
                "<path d=\"M{from:.1} {middle}H{to:.1}M{from:.1} {}v8M{to:.1} {}v8\" stroke=\"#111\"/>",
                middle - 4.0,
                middle - 4.0
            );
            end = end.max(to);
        }
        text += &format!("<text x=\"{:.1}\" y=\"{}\">{}</text>\n", end + 6.0, y + 14.0, short(*value));
    }
    text + "</svg>\n"
}

impl Evaluation {
    /// For a browser.
    pub fn html(&self) -> String {
        let k = self.k();
        let title = self.rows.first().map_or("Evaluation".to_string(), |row| format!("Evaluation of {}", row.name));
        let mut text = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title><style>{STYLE}</style>\n<h1>{title}</h1>\n<p>{}</p>\n",
            escaped(&self.headline).replace('\n', "<br>")
        );
        for metric in ["recall", "ndcg"] {
            let one = |row: &super::Row| {
                let values = row.measured.values(metric).unwrap_or_default();
                let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                (row.name.clone(), mean, Some(interval(&values, &row.measured.groups)))
            };
            text += &format!(
                "<h2>{metric}@{k}, with 95 % intervals</h2>\n{}",
                bars(&self.rows.iter().map(one).collect::<Vec<_>>(), true)
            );
        }
        let differences = self.differences();
        if let Some(first) = self.rows.first().filter(|_| !differences.is_empty()) {
            text += &format!("<h2>{} against each other one, {}@{k}</h2>\n<ul>\n", first.name, self.metric);
            for (name, mean, (low, high)) in differences {
                let verdict = verdict(low, high);
                let (mean, low, high) = (signed(mean), signed(low), signed(high));
                text += &format!("<li class=\"{verdict}\">{name}: {mean} [{low}, {high}], {verdict}</li>\n");
            }
            text += "</ul>\n<p class=\"muted\">Mean of the paired differences with its 95 % bootstrap interval, drawn by shopper.</p>\n";
        }
        text += &self.slices_html();
        let names: Vec<String> = self.rows.first().map(|row| row.measured.means().into_keys().collect()).unwrap_or_default();
        let mut header = vec![String::new()];
        header.extend(names.iter().cloned());
        header.extend(["fit", "rank"].map(String::from));
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                let means = row.measured.means();
                let mut cells = vec![row.name.clone()];
                cells.extend(names.iter().map(|name| means.get(name).map_or("-".into(), |value| short(*value))));
                cells.extend([seconds(row.fit_seconds), seconds(row.evaluate_seconds)]);
                cells
            })
            .collect();
        text +=
            &format!("<h2>All figures</h2>\n<div style=\"overflow-x:auto\">{}</div>", table(&header, &rows, " class=\"first\""));
        text += "<h2>Settings</h2>\n";
        for row in &self.rows {
            let params = serde_json::to_string(&row.params).unwrap_or_default();
            text += &format!("<pre>{}: {}</pre>\n", row.name, escaped(&params));
        }
        let (users, items, interactions) = self.sizes;
        text += &format!(
            "<p class=\"muted\">{} interactions of {} shoppers on {} items; peak memory {}; aisle {}.</p></html>\n",
            count(interactions as u64),
            count(users as u64),
            count(items as u64),
            bytes(peak_rss()),
            env!("CARGO_PKG_VERSION")
        );
        text
    }

    fn slices_html(&self) -> String {
        let Some(first) = self.rows.first().filter(|row| !row.slices.is_empty()) else { return String::new() };
        let plotted: Vec<_> = first.slices.iter().map(|slice| (slice.slice.clone(), slice.ndcg, None)).collect();
        let mut header = vec!["slice".to_string(), "questions".to_string()];
        header.extend(self.rows.iter().map(|row| row.name.clone()));
        let line = |(at, slice): (usize, &super::Reached)| {
            let mut cells = vec![escaped(&slice.slice), count(slice.questions as u64)];
            cells.extend(self.rows.iter().map(|row| row.slices.get(at).map_or("-".into(), |slice| short(slice.ndcg))));
            cells
        };
        let rows: Vec<Vec<String>> = first.slices.iter().enumerate().map(line).collect();
        format!("<h2>NDCG by slice, {}</h2>\n{}\n{}", first.name, bars(&plotted, false), table(&header, &rows, ""))
    }
}
