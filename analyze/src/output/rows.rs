//! Rows as CSV and as Parquet. Columns of amounts are `i64`: Spark and others know no unsigned 64 bit.

use std::io::Write;

use anyhow::Result;
use polars::prelude::DataFrame;
use polars_io::SerWriter;
use polars_io::csv::write::CsvWriter;
use polars_io::parquet::write::ParquetWriter;

/// Writes the rows as CSV, a header line first.
pub fn csv(mut rows: DataFrame, out: &mut dyn Write) -> Result<()> {
    Ok(CsvWriter::new(out).finish(&mut rows)?)
}

/// Writes the rows as one Parquet file.
pub fn parquet(mut rows: DataFrame, out: &mut dyn Write) -> Result<()> {
    ParquetWriter::new(out).finish(&mut rows)?;
    Ok(())
}

/// An amount as a row has it. No real size, count or time comes near the limit of `i64`.
pub fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
