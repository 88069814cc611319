//! An evaluation as one HTML page: plots are inline SVG, and the page loads nothing from anywhere.

use super::report::{short, signed};
use super::{Evaluation, MethodResult, SliceResult, mean};
use crate::report::{bytes, count, peak_rss, seconds};
use aisle_models::metrics::interval;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem;color:#222;background:#fff}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid \
#e4e4e4}td:first-child,th:first-child{text-align:left}tr.first{font-weight:600}.muted{color:#666}\
.wide{overflow-x:auto}svg text{font:13px system-ui,sans-serif;fill:#222}.better{color:#0a6b2d}\
.worse{color:#a11919}pre{white-space:pre-wrap;background:#f6f6f6;padding:.7rem;font-size:13px}";

/// Pixels from the left edge of a plot to its bars: room for names.
const PLOT_LEFT: f64 = 260.0;
/// Pixels of the longest bar.
const PLOT_WIDTH: f64 = 420.0;
/// Pixels from one bar to the next.
const PLOT_LINE: f64 = 26.0;

/// One bar of a plot.
struct Bar {
    label: String,
    value: f64,
    /// Lower and upper end of its interval, drawn as a line over the bar.
    interval: Option<(f64, f64)>,
}

impl Evaluation {
    /// Writes the evaluation as a page for a browser.
    pub fn html(&self) -> String {
        let title = match self.rows.first() {
            Some(row) => format!("Evaluation of {}", row.name),
            None => "Evaluation".into(),
        };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (title) }
                    p { @for line in self.headline.lines() { (line) br; } }
                    @for metric in ["recall", "ndcg"] {
                        h2 { (metric) "@" (self.k()) ", with 95 % intervals" }
                        (bars(&self.bars_of(metric), Highlight::First))
                    }
                    (self.html_differences())
                    (self.html_slices())
                    (self.html_metrics())
                    (self.html_settings())
                    (self.html_footer())
                }
            }
        };
        page.into_string()
    }

    /// The mean of a metric with its interval, one bar a method.
    fn bars_of(&self, metric: &str) -> Vec<Bar> {
        let bar = |row: &MethodResult| {
            let values = row.measured.values(metric).unwrap_or_default();
            Bar {
                label: row.name.clone(),
                value: mean(&values),
                interval: Some(interval(&values, &row.measured.groups)),
            }
        };
        self.rows.iter().map(bar).collect()
    }

    fn html_differences(&self) -> Markup {
        let differences = self.differences();
        let Some(first) = self.rows.first().filter(|_| !differences.is_empty()) else {
            return html! {};
        };
        html! {
            h2 { (first.name) " against each other method, " (self.metric) "@" (self.k()) }
            ul {
                @for one in &differences {
                    li class=(one.verdict()) {
                        (one.against) ": " (signed(one.mean)) " [" (signed(one.interval.0)) ", "
                        (signed(one.interval.1)) "], " (one.verdict())
                    }
                }
            }
            p class="muted" {
                "Mean of the paired differences with its 95 % bootstrap interval, drawn by shopper."
            }
        }
    }

    fn html_slices(&self) -> Markup {
        let Some(first) = self.rows.first().filter(|row| !row.slices.is_empty()) else {
            return html! {};
        };
        let bar = |slice: &SliceResult| Bar {
            label: slice.slice.clone(),
            value: slice.ndcg,
            interval: None,
        };
        let plotted: Vec<Bar> = first.slices.iter().map(bar).collect();
        let ndcg = |row: &MethodResult, at: usize| {
            let slice = row.slices.get(at);
            slice.map_or("-".into(), |slice| short(slice.ndcg))
        };
        html! {
            h2 { "NDCG by slice, " (first.name) }
            (bars(&plotted, Highlight::None))
            table {
                tr {
                    th { "slice" }
                    th { "questions" }
                    @for row in &self.rows { th { (row.name) } }
                }
                @for (at, slice) in first.slices.iter().enumerate() {
                    tr {
                        td { (slice.slice) }
                        td { (count(slice.questions as u64)) }
                        @for row in &self.rows { td { (ndcg(row, at)) } }
                    }
                }
            }
        }
    }

    fn html_metrics(&self) -> Markup {
        let first = self.rows.first();
        let names: Vec<String> = first
            .map(|row| row.measured.means().into_keys().collect())
            .unwrap_or_default();
        html! {
            h2 { "All figures" }
            div class="wide" {
                table {
                    tr {
                        th {}
                        @for name in &names { th { (name) } }
                        th { "fit" }
                        th { "rank" }
                    }
                    @for (at, row) in self.rows.iter().enumerate() {
                        @let means = row.measured.means();
                        tr class=[(at == 0).then_some("first")] {
                            td { (row.name) }
                            @for name in &names {
                                td { (means.get(name).map_or("-".into(), |&value| short(value))) }
                            }
                            td { (seconds(row.fit_seconds)) }
                            td { (seconds(row.evaluate_seconds)) }
                        }
                    }
                }
            }
        }
    }

    fn html_settings(&self) -> Markup {
        html! {
            h2 { "Settings" }
            @for row in &self.rows {
                pre { (row.name) ": " (row.params.to_string()) }
            }
        }
    }

    fn html_footer(&self) -> Markup {
        let size = self.training;
        html! {
            p class="muted" {
                (count(size.interactions as u64)) " interactions of " (count(size.users as u64))
                " shoppers on " (count(size.items as u64)) " items; peak memory "
                (bytes(peak_rss())) "; aisle " (env!("CARGO_PKG_VERSION")) "."
            }
        }
    }
}

/// Which bar of a plot stands out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Highlight {
    First,
    None,
}

/// Horizontal bars, one a line, with their intervals as lines.
fn bars(bars: &[Bar], highlight: Highlight) -> Markup {
    let end_of = |bar: &Bar| bar.interval.map_or(bar.value, |(_, high)| high);
    let longest = bars.iter().map(end_of).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| PLOT_LEFT + PLOT_WIDTH * value.max(0.0) / longest;
    let one = |(at, bar): (usize, &Bar)| {
        let y = PLOT_LINE * at as f64 + 4.0;
        let is_highlighted = at == 0 && highlight == Highlight::First;
        let colour = if is_highlighted { "#2458a6" } else { "#a9bcd8" };
        let (from, to) = bar
            .interval
            .map_or((0.0, 0.0), |(low, high)| (x(low), x(high)));
        let (top, middle) = (y + 5.0, y + 9.0);
        html! {
            text x=(PLOT_LEFT - 8.0) y=(y + 14.0) text-anchor="end" { (bar.label) }
            rect x=(PLOT_LEFT) y=(y) height="18" fill=(colour)
                width=(format!("{:.1}", x(bar.value) - PLOT_LEFT)) {}
            @if bar.interval.is_some() {
                path stroke="#111"
                    d=(format!("M{from:.1} {middle}H{to:.1}M{from:.1} {top}v8M{to:.1} {top}v8")) {}
            }
            text x=(format!("{:.1}", x(bar.value).max(to) + 6.0)) y=(y + 14.0) {
                (short(bar.value))
            }
        }
    };
    html! {
        svg role="img" width=(PLOT_LEFT + PLOT_WIDTH + 90.0)
            height=(PLOT_LINE * bars.len() as f64 + 4.0) {
            @for bar in bars.iter().enumerate() { (one(bar)) }
        }
    }
}
