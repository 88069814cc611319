//! Tables and numbers as people read them.

use comfy_table::{CellAlignment, Table, presets};

/// A whole number with thousands separated, `1,234,567`.
pub fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(0).to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as KiB, MiB or GiB.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

/// Seconds with as many digits as matter: `12 ms`, `3.4 s`, `2 min 10 s`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{:.0} min {:.0} s", (s / 60.0).floor(), s % 60.0),
    }
}

/// Rows under a header: the first column is aligned to the left, the others to the right.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    table_with_text(header, rows, &[0])
}

/// Rows under a header: columns of text are aligned to the left, the others to the right.
pub fn table_with_text(header: &[&str], rows: &[Vec<String>], text_columns: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    table.add_rows(rows);
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((2, 0));
        column.set_cell_alignment(match text_columns.contains(&number) {
            true => CellAlignment::Left,
            false => CellAlignment::Right,
        });
    }
    let lines = table.lines().map(|line| line.trim_end().to_string() + "\n");
    lines.collect()
}

/// The largest resident size of this process so far, in bytes; 0 where the system does not tell.
pub fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(1_234_567u64), "1,234,567");
        assert_eq!(count(7u64), "7");
    }

    #[test]
    fn tables_are_aligned() {
        let text = table(
            &["name", "ndcg"],
            &[
                vec!["als".into(), ".1".into()],
                vec!["popular".into(), ".05".into()],
            ],
        );
        assert_eq!(text, "  name     ndcg\n  als        .1\n  popular   .05\n");
    }
}
