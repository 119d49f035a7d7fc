//! Results that merge, as rows: CSV, Parquet, and a JSON object a line. Nothing in them is ever empty but a text.

pub mod fleet;

use std::io::Write;

use anyhow::Result;
use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
use schemars::JsonSchema;
use serde::Serialize;

use crate::metrics::partial::names::METRICS;
use crate::metrics::partial::{Figure, Key, Partial, Who};

/// A row: a figure, and whose it is. Rows in which all but `value`, `first_ns` and `last_ns` is the same, or is left out
/// of account, add up: the sum of `value`, the least `first_ns`, the most `last_ns`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Row<'a> {
    #[serde(flatten)]
    who: &'a Who,
    /// What is counted: `used_bytes`, `traces_failed` and so on. Its rows have classes in `bucket`, or all of them none.
    #[schemars(extend("enum" = METRICS.as_slice()))]
    metric: &'a str,
    /// Of what: an owner of memory, a reason, a population; empty if the metric says it all.
    name: &'a str,
    /// The smallest size in bytes, or age in nanoseconds, or other figure that is counted here; -1 of a metric without
    /// classes.
    bucket: i64,
    #[serde(flatten)]
    figure: &'a Figure,
}

impl<'a> Row<'a> {
    fn of((key, figure): (&'a Key, &'a Figure)) -> Row<'a> {
        Row { who: &key.who, metric: &key.metric, name: &key.name, bucket: key.bucket, figure }
    }
}

/// Writes each row as a JSON object on a line of its own.
pub fn jsonl(partial: &Partial, out: &mut dyn Write) -> Result<()> {
    for row in partial.0.iter().map(Row::of) {
        serde_json::to_writer(&mut *out, &row)?;
        writeln!(out)?;
    }
    Ok(())
}

/// The rows, in the order of their columns.
pub fn frame(partial: &Partial) -> Result<DataFrame> {
    let rows: Vec<Row<'_>> = partial.0.iter().map(Row::of).collect();
    let text = |name: &str, of: for<'a> fn(&'a Row<'a>) -> &'a str| {
        Series::new(name.into(), rows.iter().map(of).collect::<Vec<&str>>()).into_column()
    };
    let number = |name: &str, of: fn(&Row<'_>) -> i64| {
        Series::new(name.into(), rows.iter().map(of).collect::<Vec<i64>>()).into_column()
    };
    let columns: Vec<Column> = vec![
        text("service", |row| &row.who.service),
        text("day", |row| &row.who.day),
        text("node", |row| &row.who.node),
        text("build", |row| &row.who.build),
        text("program", |row| &row.who.program),
        text("role", |row| &row.who.role),
        number("generation", |row| row.who.generation),
        number("worker", |row| row.who.worker),
        number("pid", |row| row.who.pid),
        number("vm", |row| row.who.vm),
        text("label", |row| &row.who.label),
        text("luajit", |row| &row.who.luajit),
        text("mode", |row| &row.who.mode),
        text("trace", |row| &row.who.trace),
        text("recording", |row| &row.who.recording),
        text("metric", |row| row.metric),
        text("name", |row| row.name),
        number("bucket", |row| row.bucket),
        number("value", |row| row.figure.value),
        number("first_ns", |row| row.figure.first_ns),
        number("last_ns", |row| row.figure.last_ns),
    ];
    Ok(DataFrame::new_infer_height(columns)?)
}
