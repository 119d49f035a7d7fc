//! Rows, as CSV and Parquet have them.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use polars::prelude::{AnyValue, DataFrame};
use polars_io::SerReader;
use polars_io::csv::read::CsvReadOptions;
use polars_io::parquet::read::ParquetReader;
use serde_json::Value;

/// What a row is to be: the columns that are not empty.
pub(crate) type Row = serde_json::Map<String, Value>;

/// Rows of cells by the names of their columns; an empty cell is empty text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    /// The columns, in their order.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<BTreeMap<String, String>>,
}

/// An object of JSON as a row.
macro_rules! row {
    ($($json:tt)+) => {
        match serde_json::json!($($json)+) {
            serde_json::Value::Object(row) => row,
            other => panic!("{other} is no row"),
        }
    };
}
pub(crate) use row;

impl Table {
    /// Reads a CSV. Its cells stay as they are written.
    pub(crate) fn of_csv(csv: &str) -> Table {
        let options = CsvReadOptions::default().with_infer_schema_length(Some(0));
        let frame = options.into_reader_with_file_handle(Cursor::new(csv.to_owned())).finish().expect("a CSV");
        Table::of(&frame)
    }

    /// Reads a Parquet file.
    pub(crate) fn of_parquet(path: &Path) -> Table {
        let file = std::fs::File::open(path).expect("the Parquet");
        Table::of(&ParquetReader::new(file).finish().expect("a Parquet file"))
    }

    fn of(frame: &DataFrame) -> Table {
        let columns: Vec<String> = frame.columns().iter().map(|column| column.name().to_string()).collect();
        let cell = |value: AnyValue<'_>| match (&value, value.get_str()) {
            (_, Some(text)) => text.to_owned(),
            (AnyValue::Boolean(yes), _) => yes.to_string(),
            _ => value.extract::<f64>().map_or(String::new(), |number| number.to_string()),
        };
        let row = |at: usize| {
            let cells = frame.columns().iter().map(|column| cell(column.get(at).expect("a cell")));
            columns.iter().cloned().zip(cells).collect()
        };
        Table { rows: (0..frame.height()).map(row).collect(), columns }
    }

    /// Fails unless these are the rows, in this order.
    pub(crate) fn assert_is(&self, expected: &[Row]) {
        for (at, (found, row)) in self.rows.iter().zip(expected).enumerate() {
            assert_same(found, row, &format!("row {}", at + 1));
        }
        assert_eq!(self.rows.len(), expected.len(), "rows");
    }

    /// Fails unless another table has the same cells, numbers as numbers.
    pub(crate) fn assert_equals(&self, other: &Table) {
        assert_eq!((&self.columns, self.rows.len()), (&other.columns, other.rows.len()));
        for (at, (ours, theirs)) in self.rows.iter().zip(&other.rows).enumerate() {
            for (name, cell) in ours {
                let [ours, theirs] = [cell, &theirs[name]].map(|cell| cell.parse::<f64>());
                let same = matches!((ours, theirs), (Ok(ours), Ok(theirs)) if ours == theirs);
                assert!(same || cell == &other.rows[at][name], "{name} of row {}: {cell}", at + 1);
            }
        }
    }
}

/// Fails unless a row has these cells, and no others.
pub(crate) fn assert_same(found: &BTreeMap<String, String>, expected: &Row, what: &str) {
    for name in expected.keys() {
        assert!(found.contains_key(name), "{what}: there is no column {name}");
    }
    for (name, cell) in found {
        let value = expected.get(name).unwrap_or(&Value::Null);
        let same = match value {
            Value::Null => cell.is_empty(),
            Value::String(text) => cell == text,
            Value::Number(number) => *cell == number.to_string() || is_near(cell, number.as_f64()),
            Value::Bool(yes) => cell.parse().ok() == Some(*yes),
            Value::Array(_) | Value::Object(_) => false,
        };
        assert!(same, "{what}, {name}: `{cell}` is not {value} of the JSON, where {expected:?}");
    }
}

/// Whether a cell is a number. Our reader of JSON may miss the last bit of a fraction.
fn is_near(cell: &str, number: Option<f64>) -> bool {
    let (Ok(cell), Some(number)) = (cell.parse::<f64>(), number) else { return false };
    (cell - number).abs() <= f64::EPSILON * number.abs()
}
