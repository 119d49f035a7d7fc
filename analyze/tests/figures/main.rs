//! The figures of a command are the same figures in each of its formats: those of its JSON. Rows of CSV and Parquet have
//! them to the last digit; texts, pictures and pages say them in the words of `output`, at their places, and say no others.
//!
//! A new command gets a module with a [`Subject`], and its line in [`SUBJECTS`]; without them a test fails.

mod batch;
mod breakdown;
mod diff;
mod events;
mod growth;
mod json;
mod lifetimes;
mod map;
mod objects;
mod page;
mod partial;
mod picture;
mod rates;
mod shown;
mod sites;
mod stats;
mod table;
mod timeline;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use analyze::cli::Arguments;
use analyze::output::{rates as rate_words, words};
use clap::CommandFactory;
use serde_json::Value;

use picture::{Curve, Panel, Picture};
use shown::{Said, Shown};
use table::Table;

/// What commands are asked that take a period of traces with calls.
pub(crate) const OF_A_PERIOD: &[&str] = &[
    "gc64.ljt",
    "nginx.ljt",
    "nginx.ljt --from 100ms --to 400ms",
    "nogc64.ljt",
    "sampled.ljt",
    "threads.ljt",
    "threads.ljt --vm 2",
];

/// A command that writes rows and pictures.
struct Subject {
    command: &'static str,
    /// What stands behind it: what it is run on.
    lines: &'static [&'static str],
    /// Fails unless these are the rows of a JSON.
    rows: fn(&Table, &Value),
    /// What the text is to say.
    text: fn(&Value) -> Vec<Said>,
    /// What the picture is to show.
    drawn: fn(&Value) -> Drawn,
}

/// What a picture is to show.
#[derive(Debug, Default)]
struct Drawn {
    /// What its description says.
    described: Vec<Said>,
    /// What is written in it.
    drawn: Vec<Said>,
    /// Its bars over size classes, from top to bottom.
    panels: Vec<Panel>,
    /// Its curves over time, those of an axis together.
    curves: Vec<Curve>,
    /// Other texts from the JSON whose figures it may show.
    derived: Vec<String>,
}

impl Drawn {
    /// What is said both in the description and in the picture.
    fn everywhere(&mut self, said: Said) {
        self.described.push(said.clone());
        self.drawn.push(said);
    }
}

const SUBJECTS: [Subject; 10] = [
    stats::SUBJECT,
    rates::SUBJECT,
    timeline::SUBJECT,
    map::SUBJECT,
    objects::SUBJECT,
    sites::SUBJECT,
    lifetimes::SUBJECT,
    growth::SUBJECT,
    breakdown::SUBJECT,
    diff::SUBJECT,
];

/// Commands with formats that have a module of their own here, or why they need none.
const OTHERS: [&str; 6] = [
    "batch", "report", "partial", // Nothing but rows: `golden.rs` compares them with each other.
    "events",  // Nothing but the verdict and the file's frames, in words and as JSON.
    "verify", "info",
];

/// Figures that stand for themselves.
const CONSTANTS: [&str; 1] = ["95 %"];

fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/traces")
}

/// Runs `analyze` where the traces are. What it finds may be incomplete.
fn run<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_analyze"));
    let output = command.args(words).current_dir(traces()).output().expect("analyze runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 2)), "{command:?}: {said}");
    output
}

/// What a command line prints in a format.
fn printed(line: &str, format: &str) -> String {
    String::from_utf8(run(line.split(' ').chain(["--format", format])).stdout).expect("text")
}

/// What it prints as JSON.
fn json_of(line: &str) -> Value {
    serde_json::from_str(&printed(line, "json")).expect("JSON")
}

/// The rows that it writes as Parquet.
fn parquet(line: &str) -> Table {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let words = line.split(' ').chain(["--format", "parquet", "-o"]).map(OsStr::new);
    run(words.chain([file.path().as_os_str()]));
    Table::of_parquet(file.path())
}

/// The command lines of all subjects.
fn lines() -> impl Iterator<Item = (&'static Subject, String)> {
    SUBJECTS
        .iter()
        .flat_map(|subject| subject.lines.iter().map(move |line| (subject, format!("{} {line}", subject.command))))
}

/// What a text does not say of what it is to say.
fn unsaid(shown: &Shown, all: &[Said]) -> Option<String> {
    let missing: Vec<&Said> = all.iter().filter(|said| !shown.says(said)).collect();
    (!missing.is_empty()).then(|| format!("not said of the JSON: {missing:?} in {shown}"))
}

/// Each way in which a figure of a JSON may be said.
fn vocabulary(json: &Value) -> BTreeSet<String> {
    let mut amounts = Vec::new();
    json::amounts(json, &mut amounts);
    let mut known: BTreeSet<String> = CONSTANTS.map(str::to_owned).into();
    for amount in amounts {
        let (real, whole) = (amount.abs(), amount.abs().round() as u64);
        known.extend([
            whole.to_string(),
            words::thousands(whole),
            words::bytes(whole),
            words::size_class(whole),
            words::short_bytes(whole),
            picture::short_count(whole),
            words::duration(whole),
            words::time(whole),
            rate_words::words::number(real),
            rate_words::words::share(real),
            rate_words::words::age(whole),
        ]);
    }
    known
}

#[test]
fn rows_are_those_of_the_json() {
    for (subject, line) in lines() {
        let csv = Table::of_csv(&printed(&line, "csv"));
        assert!(!csv.rows.is_empty(), "{line} has no rows");
        println!("analyze {line} --format csv");
        (subject.rows)(&csv, &json_of(&line));
        println!("analyze {line} --format parquet");
        csv.assert_equals(&parquet(&line));
    }
}

#[test]
fn texts_say_the_figures_of_the_json() {
    let mut wrong = Vec::new();
    for (subject, line) in lines() {
        let said = (subject.text)(&json_of(&line));
        assert!(!said.is_empty(), "{line}");
        wrong.extend(unsaid(&Shown::of(&printed(&line, "text")), &said).map(|what| format!("{line}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pictures_show_the_figures_of_the_json_and_no_others() {
    let mut wrong = Vec::new();
    for (subject, line) in lines() {
        let json = json_of(&line);
        let expected = (subject.drawn)(&json);
        let picture = Picture::of(&printed(&line, "svg"));
        let said = [unsaid(&picture.described, &expected.described), unsaid(&picture.drawn, &expected.drawn)];
        let drawn = picture.wrong_panels(&expected.panels).into_iter().chain(picture.wrong_curves(&expected.curves));
        wrong.extend(said.into_iter().flatten().chain(drawn).map(|what| format!("{line}: {what}")));

        let mut known = vocabulary(&json);
        let said = expected.described.iter().chain(&expected.drawn).flat_map(|said| said.figures.iter().cloned());
        known.extend(said.chain(expected.derived.iter().flat_map(|text| Shown::of(text).all())));
        let mut names = Vec::new();
        json::texts(&json, &mut names);
        for shown in [&picture.described, &picture.drawn] {
            let unknown = shown.unknown(&names, &known);
            if !unknown.is_empty() {
                wrong.push(format!("{line}: not of the JSON: {unknown:?} in {shown}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_command_with_formats_is_here() {
    let here: BTreeSet<&str> = SUBJECTS.iter().map(|subject| subject.command).chain(OTHERS).collect();
    let arguments = Arguments::command();
    let with_formats = arguments.get_subcommands().filter(|command| {
        let named = |id: &str| command.get_arguments().any(|argument| argument.get_id() == id);
        named("format") || command.get_name() == "report"
    });
    let there: BTreeSet<&str> = with_formats.map(clap::Command::get_name).collect();
    assert_eq!(here, there, "commands with a module here, and those that have formats");
}
