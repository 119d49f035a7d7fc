//! Every call: rows only.

use serde_json::Value;

use crate::table::{Row, Table};
use crate::{parquet, printed};

#[test]
fn rows_are_the_same_in_csv_json_lines_and_parquet() {
    for line in ["events sampled.ljt", "events threads.ljt --vm 2"] {
        let csv = Table::of_csv(&printed(line, "csv"));
        assert!(csv.rows.len() > 100, "{line}");
        let rows = printed(line, "jsonl");
        let rows = rows.lines().map(|row| match serde_json::from_str(row) {
            Ok(Value::Object(row)) => row,
            other => panic!("{other:?} is no row"),
        });
        csv.assert_is(&rows.collect::<Vec<Row>>());
        csv.assert_equals(&parquet(line));
    }
}
