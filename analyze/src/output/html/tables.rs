//! Rows as a table that sorts: the same rows as in CSV.

use std::fmt::Write;

use anyhow::Result;
use polars::prelude::{AnyValue, Column, DataFrame};

use super::{explained, text};
use crate::output::words;

/// More rows than these are for a spreadsheet.
pub(super) const ROWS: usize = 400;

/// Writes the table, unfolded if it is `open`. A column that says the same in each row is said once, above it. `command` is
/// what has all rows.
pub(super) fn write(rows: &DataFrame, command: &str, open: bool, html: &mut String) -> Result<()> {
    let all = rows.height();
    let shown = rows.head(Some(ROWS));
    let columns = rows.columns();
    let (same, differing): (Vec<&Column>, Vec<&Column>) =
        columns.iter().partition(|column| all > 1 && column.n_unique().is_ok_and(|values| values == 1));
    let open = if open { " open" } else { "" };
    write!(html, "<details{open}><summary>Table: {}</summary>", words::count(all as u64, "row"))?;
    if all > ROWS {
        let more = words::thousands((all - ROWS) as u64);
        write!(html, "<p>The first {ROWS}; {more} more are in <code>{}</code>.</p>", text(command))?;
    }
    if !same.is_empty() {
        let facts = same.iter().map(|column| {
            let value = column.get(0).map(|value| cell(column.name(), &value).0)?;
            Ok(format!("{} {}", text(column.name()), text(&value)))
        });
        let facts = facts.collect::<Result<Vec<String>>>()?;
        write!(html, "<p class=\"faint\">In each row: {}.</p>", facts.join(", "))?;
    }
    html.push_str("<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>");
    for column in &differing {
        let words = if column.dtype().is_primitive_numeric() { "" } else { " class=\"words\"" };
        let name = text(column.name());
        write!(
            html,
            "<th scope=\"col\" aria-sort=\"none\"{words}><button type=\"button\" class=\"sort\">{name}</button>"
        )?;
        html.push_str(&explained(column.name(), "?"));
        html.push_str("</th>");
    }
    html.push_str("</tr></thead><tbody>\n");
    for row in 0..shown.height() {
        html.push_str("<tr>");
        for column in &differing {
            let (shown, raw) = cell(column.name(), &column.get(row)?);
            match raw {
                Some(raw) => write!(html, "<td data-v=\"{raw}\">{}</td>", text(&shown))?,
                None => write!(html, "<td class=\"words\">{}</td>", text(&shown))?,
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div></details>\n");
    Ok(())
}

/// What stands in a cell, and the number it is, if it is one.
fn cell(column: &str, value: &AnyValue<'_>) -> (String, Option<String>) {
    match value {
        AnyValue::Null => (String::new(), Some(String::new())),
        AnyValue::String(words) => (words::name(words, 200), None),
        AnyValue::StringOwned(words) => (words::name(words, 200), None),
        AnyValue::Boolean(yes) => (if *yes { "yes" } else { "no" }.to_owned(), None),
        AnyValue::Float64(number) => (decimal(*number), Some(number.to_string())),
        integer => match integer.extract::<i64>() {
            Some(number) => (whole(column, number), Some(number.to_string())),
            None => (integer.to_string(), None),
        },
    }
}

fn whole(column: &str, number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    // Numbers that name something have no thousands.
    if ["pid", "vm", "part", "generation", "worker"].contains(&column) {
        return number.to_string();
    }
    if column.ends_with("_ns") {
        return format!("{sign}{}", words::duration(number.unsigned_abs()));
    }
    if column.ends_with("_us") {
        return format!("{sign}{}", words::duration(number.unsigned_abs().saturating_mul(1000)));
    }
    if column.ends_with("_ppm") {
        return format!("{:.2} %", number as f64 / 1e4);
    }
    format!("{sign}{}", words::thousands(number.unsigned_abs()))
}

/// Four digits or so.
fn decimal(number: f64) -> String {
    match number.abs() {
        size if (1000.0..1e18).contains(&size) => whole("", number.round() as i64),
        size if size >= 100.0 => format!("{number:.1}"),
        size if size == 0.0 || size >= 0.001 => format!("{number:.3}"),
        _ => format!("{number:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_show_numbers_and_keep_them() {
        assert_eq!(cell("bytes", &AnyValue::Int64(1_234_567)), ("1,234,567".into(), Some("1234567".into())));
        assert_eq!(cell("net", &AnyValue::Int64(-1200)), ("-1,200".into(), Some("-1200".into())));
        assert_eq!(cell("pid", &AnyValue::Int64(12551)), ("12551".into(), Some("12551".into())));
        assert_eq!(cell("low", &AnyValue::Null), (String::new(), Some(String::new())));
        assert_eq!(cell("value", &AnyValue::Float64(12_345.6)).0, "12,346");
        assert_eq!(cell("value", &AnyValue::Float64(0.25)).0, "0.250");
        assert_eq!(cell("kind", &AnyValue::String("a\u{1}b")), ("a?b".into(), None));
    }

    #[test]
    fn what_is_the_same_everywhere_is_said_once() {
        let rows = polars::df!("pid" => [7i64, 7], "used" => [1i64, 2], "label" => ["<a>", "b"]).unwrap();
        let mut html = String::new();
        write(&rows, "analyze x --format csv", false, &mut html).unwrap();
        assert!(html.contains("In each row: pid 7.") && html.contains("2 rows"), "{html}");
        assert_eq!(html.matches("<tr>").count(), 3);
        assert!(html.contains("&lt;a&gt;") && html.contains("data-v=\"2\""), "{html}");
    }
}
