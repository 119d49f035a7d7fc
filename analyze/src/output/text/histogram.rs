//! A population by size, with bars by bytes.

use std::io::{self, Write};

use super::{Options, plain_table, right_but_first};
use crate::metrics::population::{Population, Tally};
use crate::output::words;

/// Bars are at least and at most so many columns long.
pub(in crate::output) const BAR: std::ops::RangeInclusive<usize> = 8..=40;
/// An eighth to seven eighths of a column.
const PARTS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Writes an empty line and the histogram.
pub(in crate::output) fn write(
    name: &str,
    population: &Population,
    options: &Options,
    out: &mut dyn Write,
) -> io::Result<()> {
    let rows: Vec<[String; 4]> =
        population.buckets.iter().map(|(bucket, tally)| row(*bucket, tally, population)).collect();
    let head = [name, "count", "bytes", "share"];
    let width =
        |at: usize| rows.iter().map(|row| row[at].as_str()).chain([head[at]]).map(|cell| cell.chars().count()).max();
    let widths: usize = (0..4).filter_map(width).sum();
    // Two columns between columns.
    let room = options.width.saturating_sub(widths + 4 * 2).clamp(*BAR.start(), *BAR.end());
    let largest = population.buckets.values().map(|tally| tally.bytes).max().unwrap_or(0);

    let mut table = plain_table();
    table.set_header(head.into_iter().chain([""]));
    for (row, tally) in rows.into_iter().zip(population.buckets.values()) {
        let [range, count, bytes, share] = row;
        table.add_row([range, count, bytes, share, options.paint("2", &bar(tally.bytes, largest, room))]);
    }
    right_but_first(&mut table);
    if let Some(bars) = table.column_mut(4) {
        bars.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    writeln!(out, "\n{}", table.trim_fmt())
}

fn row(bucket: u64, tally: &Tally, population: &Population) -> [String; 4] {
    let share = words::share(tally.bytes, population.all.bytes);
    [words::size_range(bucket), words::thousands(tally.count), words::bytes(tally.bytes), share]
}

/// A bar of `room` columns for the largest; nothing but zero is invisible.
pub(in crate::output) fn bar(bytes: u64, largest: u64, room: usize) -> String {
    if bytes == 0 || largest == 0 {
        return String::new();
    }
    let eighths = ((bytes as f64 / largest as f64) * (room * 8) as f64).round().max(1.0) as usize;
    let rest = (eighths % 8).checked_sub(1).map(|part| PARTS[part]);
    "█".repeat(eighths / 8).chars().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_proportional_and_never_vanish() {
        assert_eq!([(0, 8), (1, 8), (4, 8), (8, 8)].map(|(part, all)| bar(part, all, 2)), ["", "▎", "█", "██"]);
        assert_eq!(bar(1, 1_000_000, 10), "▏");
        assert_eq!(bar(0, 0, 10), "");
    }

    #[test]
    fn every_bucket_has_a_row() {
        let population: Population = [8, 32, 40, 5000, 131_072].into_iter().collect();
        let mut bytes = Vec::new();
        write("used", &population, &Options::default(), &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 2 + population.buckets.len());
        assert!(text.contains("128 KiB - <256 KiB"));
    }
}
