//! Reads a data set of rows: Parquet files, in directories that name what is the same in all rows below them, as Hive and
//! Spark write them: `service=shop/day=2026-11-28/part-0.parquet`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use polars::prelude::{DataFrame, Int64Chunked, StringChunked};
use polars_io::SerReader;
use polars_io::parquet::read::ParquetReader;

use crate::metrics::partial::{Figure, Key, NO_CLASS, UNKNOWN, Who};
use crate::source::shown;

/// So many rows are in memory at a time.
const ROWS: usize = 1 << 18;

/// How Hive calls a directory of nothing.
const NOTHING: &str = "__HIVE_DEFAULT_PARTITION__";

/// The Parquet files below a path, in the order of their names; what begins with `_` or `.` is none of the data.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", shown(path));
    if !fs::metadata(path).with_context(cannot)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", shown(&folder)))? {
            let entry = entry.with_context(cannot)?;
            let (name, path) = (entry.file_name(), entry.path());
            if name.as_encoded_bytes().starts_with(b"_") || name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // A link to a directory may lead back.
            if entry.file_type().with_context(cannot)?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Hands over each row of a file. Columns that say whose a row is may be missing: then nothing is said.
///
/// # Errors
/// It is no Parquet file, has no `metric`, `bucket` or `value`, or a column of another type.
pub(super) fn read(path: &Path, mut row: impl FnMut(&Key, Figure)) -> Result<()> {
    let open = || File::open(path).with_context(|| format!("cannot open {}", shown(path)));
    let wrong = || format!("{} is no table of `analyze partial`", shown(path));
    let told = partitions(path);
    let height = ParquetReader::new(open()?).num_rows().with_context(wrong)?;
    for first in (0..height).step_by(ROWS) {
        let slice = Some((first, ROWS.min(height - first)));
        let frame = ParquetReader::new(open()?).with_slice(slice).finish().with_context(wrong)?;
        rows(&frame, &told, &mut row).with_context(wrong)?;
    }
    Ok(())
}

/// What the directories of a path say: a column's name, and what it is in all rows.
fn partitions(path: &Path) -> BTreeMap<String, String> {
    let parts = path.iter().filter_map(|part| part.to_str()?.split_once('='));
    parts
        .map(|(name, value)| (name.to_owned(), if value == NOTHING { String::new() } else { unescaped(value) }))
        .collect()
}

/// `%3A` and the like as the bytes they are.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend(before.as_bytes());
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A column of texts, or what is the same in all rows.
enum Texts<'a> {
    Each(&'a StringChunked),
    All(&'a str),
}

/// A column of whole numbers, or what is the same in all rows.
enum Numbers<'a> {
    Each(&'a Int64Chunked),
    All(i64),
}

impl Texts<'_> {
    fn at(&self, row: usize) -> &str {
        match self {
            Texts::Each(column) => column.get(row).unwrap_or_default(),
            Texts::All(text) => text,
        }
    }
}

impl Numbers<'_> {
    fn at(&self, row: usize) -> i64 {
        match self {
            Numbers::Each(column) => column.get(row).unwrap_or_default(),
            Numbers::All(number) => *number,
        }
    }
}

fn rows(frame: &DataFrame, told: &BTreeMap<String, String>, row: &mut impl FnMut(&Key, Figure)) -> Result<()> {
    let texts = |name: &str| match (frame.column(name), told.get(name)) {
        (Ok(column), _) => Ok(Texts::Each(column.str().with_context(|| format!("column {name}"))?)),
        (Err(_), told) => Ok::<_, anyhow::Error>(Texts::All(told.map_or("", String::as_str))),
    };
    let numbers = |name: &str, missing: i64| match (frame.column(name), told.get(name)) {
        (Ok(column), _) => Ok(Numbers::Each(column.i64().with_context(|| format!("column {name}"))?)),
        (Err(_), Some(told)) => told.parse().map(Numbers::All).map_err(|_| anyhow!("{name}={told} is no number")),
        (Err(_), None) => Ok(Numbers::All(missing)),
    };
    for name in ["metric", "bucket", "value"] {
        if frame.column(name).is_err() && !told.contains_key(name) {
            bail!("it has no column {name}");
        }
    }
    let (service, day, node, build) = (texts("service")?, texts("day")?, texts("node")?, texts("build")?);
    let (program, role, label) = (texts("program")?, texts("role")?, texts("label")?);
    let (luajit, mode, trace, recording) = (texts("luajit")?, texts("mode")?, texts("trace")?, texts("recording")?);
    let (generation, worker) = (numbers("generation", 0)?, numbers("worker", 0)?);
    let (pid, vm) = (numbers("pid", 0)?, numbers("vm", 0)?);
    let (metric, name, bucket) = (texts("metric")?, texts("name")?, numbers("bucket", NO_CLASS)?);
    let (value, first_ns, last_ns) = (numbers("value", 0)?, numbers("first_ns", 0)?, numbers("last_ns", 0)?);
    let or_unknown = |text: &str| if text.is_empty() { UNKNOWN } else { text }.to_owned();
    let mut who = Arc::new(Who::default());
    for at in 0..frame.height() {
        let next = Who {
            service: or_unknown(service.at(at)),
            day: or_unknown(day.at(at)),
            node: node.at(at).to_owned(),
            build: or_unknown(build.at(at)),
            program: program.at(at).to_owned(),
            role: role.at(at).to_owned(),
            generation: generation.at(at),
            worker: worker.at(at),
            pid: pid.at(at),
            vm: vm.at(at),
            label: label.at(at).to_owned(),
            luajit: luajit.at(at).to_owned(),
            mode: mode.at(at).to_owned(),
            trace: trace.at(at).to_owned(),
            recording: recording.at(at).to_owned(),
        };
        // Rows of one stand together, mostly.
        if *who != next {
            who = Arc::new(next);
        }
        let metric = Cow::Owned(metric.at(at).to_owned());
        let key = Key { who: Arc::clone(&who), metric, name: name.at(at).to_owned(), bucket: bucket.at(at) };
        row(&key, Figure { value: value.at(at), first_ns: first_ns.at(at), last_ns: last_ns.at(at) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::partial::Partial;
    use crate::output::partial::frame;
    use crate::output::rows::parquet;

    fn sample() -> Partial {
        let who = |vm, service: &str| Who {
            service: service.into(),
            day: "2026-11-28".into(),
            build: "b:1".into(),
            trace: "a b.ljt".into(),
            pid: 7,
            vm,
            ..Who::default()
        };
        let row = |who, metric: &'static str, value| {
            let key = Key { who: Arc::new(who), metric: metric.into(), name: "n".into(), bucket: 64 };
            (key, Figure { value, first_ns: 5, last_ns: 9 })
        };
        [row(who(1, "shop"), "used_bytes", 3), row(who(2, "shop"), "used_bytes", -4), row(who(0, UNKNOWN), "files", 1)]
            .into_iter()
            .collect()
    }

    fn read_all(path: &Path) -> Result<Partial> {
        let mut all = Partial::default();
        files(path)?.iter().try_for_each(|file| read(file, |key, figure| all.add(key.clone(), figure)))?;
        Ok(all)
    }

    fn write(frame: DataFrame, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        parquet(frame, &mut File::create(path).unwrap()).unwrap();
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        write(frame(&sample()).unwrap(), &folder.path().join("all.parquet"));
        assert_eq!(read_all(folder.path()).unwrap(), sample());
        assert_eq!(read_all(&folder.path().join("all.parquet")).unwrap(), sample());
        // Rows add up, however many files they are in; what is not data is left alone.
        write(frame(&sample()).unwrap(), &folder.path().join("deep/er/again.parquet"));
        write(frame(&sample()).unwrap(), &folder.path().join("_temporary/0/half.parquet"));
        fs::write(folder.path().join("_SUCCESS"), "").unwrap();
        fs::write(folder.path().join(".part.crc"), "").unwrap();
        assert_eq!(read_all(folder.path()).unwrap().sum("used_bytes"), -2);
    }

    #[test]
    fn directories_say_what_files_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let whole = frame(&sample()).unwrap();
        let told = whole.drop_many(["service", "build", "vm", "node"]);
        write(told, &folder.path().join("service=__HIVE_DEFAULT_PARTITION__/build=b%3A1/vm=3/part-0.snappy.parquet"));
        let read = read_all(folder.path()).unwrap();
        assert!(read.0.keys().all(|key| key.who.service == UNKNOWN && key.who.build == "b:1" && key.who.vm == 3));
        assert_eq!(read.sum("used_bytes"), -1);
    }

    #[test]
    fn what_is_no_such_table_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let refused = |frame: DataFrame| {
            write(frame, &path);
            format!("{:#}", read_all(&path).unwrap_err())
        };
        let whole = frame(&sample()).unwrap();
        assert!(refused(whole.drop("value").unwrap()).contains("it has no column value"));
        let mut text = whole.clone();
        text.with_column(polars::prelude::Column::new("value".into(), ["a", "b", "c"])).unwrap();
        assert!(refused(text).contains("column value"));
        fs::write(&path, "This is no table.").unwrap();
        assert!(format!("{:#}", read_all(&path).unwrap_err()).contains("is no table of `analyze partial`"));
        assert!(read_all(&folder.path().join("not there")).is_err());
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescaped("a%20b%3Ac%zz%2"), "a b:c%zz%2");
        assert_eq!(unescaped("%C3%BC%"), "ü%");
    }
}
