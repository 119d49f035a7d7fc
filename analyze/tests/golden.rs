//! What each command writes, in each of its formats, as it was when somebody last looked at it: the program itself, on
//! the traces of `testdata/traces/`.
//!
//! `BLESS=1 cargo test --release -p analyze --test golden` writes the files in `tests/golden/` anew; look at what has
//! changed before it is committed. A new command gets its lines in [`LINES`]; without them a test fails.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use analyze::cli::Arguments;
use clap::CommandFactory;

/// Each golden file, the exit code that goes with it, and the command line, to be run in `testdata/traces/`.
const LINES: &[(&str, i32, &str)] = &[
    ("summary.txt", 0, "gc64.ljt"),
    ("stats.txt", 0, "stats threads.ljt"),
    ("stats-peak.txt", 0, "stats nogc64.ljt --at peak"),
    ("stats-sampled.txt", 0, "stats sampled.ljt"),
    ("stats.json", 0, "stats gc64.ljt --format json"),
    ("stats-vms.json", 0, "stats threads.ljt --format json"),
    ("stats-compat.json", 0, "stats gc64.ljt --format json --compat"),
    ("stats.csv", 0, "stats threads.ljt --format csv"),
    ("stats.svg", 0, "stats gc64.ljt --format svg"),
    ("rates.txt", 0, "rates nginx.ljt"),
    ("rates-sampled.txt", 0, "rates sampled.ljt"),
    ("rates.json", 0, "rates nginx.ljt --format json"),
    ("rates-sampled.json", 0, "rates sampled.ljt --format json"),
    ("rates.csv", 0, "rates threads.ljt --format csv"),
    ("rates.svg", 0, "rates nginx.ljt --format svg"),
    ("breakdown.txt", 0, "breakdown sampled.ljt"),
    ("breakdown-snapshot.txt", 0, "breakdown snapshot.ljt"),
    ("breakdown.json", 0, "breakdown snapshot.ljt --format json"),
    ("breakdown.csv", 0, "breakdown snapshot.ljt --format csv"),
    ("breakdown.svg", 0, "breakdown snapshot.ljt --format svg"),
    ("map.txt", 0, "map gc64.ljt --at peak"),
    ("map.json", 0, "map nginx.ljt --format json"),
    ("map.csv", 0, "map nginx.ljt --format csv"),
    ("map.svg", 0, "map nginx.ljt --format svg"),
    ("diff-kinds.txt", 0, "diff objects.ljt@40ms objects.ljt"),
    ("diff-kinds.svg", 0, "diff objects.ljt@40ms objects.ljt --format svg"),
    ("map-kinds.txt", 0, "map objects.ljt --by kind --steps 3"),
    ("map-kinds.csv", 0, "map objects.ljt --by kind --at 200ms --format csv"),
    ("map-kinds.svg", 0, "map objects.ljt --by kind --format svg"),
    ("objects.txt", 0, "objects objects.ljt"),
    ("objects.json", 0, "objects objects.ljt --at 200ms --format json"),
    ("objects.csv", 0, "objects objects.ljt --format csv"),
    ("objects.svg", 0, "objects objects.ljt --format svg"),
    ("diff.txt", 0, "diff gc64.ljt@20ms gc64.ljt@peak"),
    ("diff-same.txt", 0, "diff gc64.ljt gc64.ljt"),
    ("diff-sampled.txt", 0, "diff snapshot.ljt sampled.ljt"),
    ("diff-fails.txt", 3, "diff gc64.ljt nogc64.ljt --fail-on free_share>+5% --fail-on used_bytes>+10%"),
    ("diff.json", 3, "diff gc64.ljt nogc64.ljt --format json --fail-on free_share>+5% --fail-on used_bytes>+10%"),
    ("diff-sampled.json", 0, "diff snapshot.ljt sampled.ljt --format json"),
    ("diff.csv", 0, "diff snapshot.ljt sampled.ljt --format csv"),
    ("diff.svg", 0, "diff snapshot.ljt sampled.ljt --format svg"),
    ("timeline.txt", 0, "timeline nginx.ljt"),
    ("timeline-sampled.txt", 0, "timeline sampled.ljt"),
    ("timeline.json", 0, "timeline sampled.ljt --points 12 --format json"),
    ("timeline.csv", 0, "timeline threads.ljt --points 12 --format csv"),
    ("timeline.svg", 0, "timeline nginx.ljt --format svg"),
    ("lifetimes.txt", 0, "lifetimes nginx.ljt"),
    ("lifetimes-sampled.txt", 0, "lifetimes sampled.ljt"),
    ("lifetimes.json", 0, "lifetimes sampled.ljt --format json"),
    ("lifetimes.csv", 0, "lifetimes threads.ljt --format csv"),
    ("lifetimes.svg", 0, "lifetimes nginx.ljt --format svg"),
    ("growth.txt", 0, "growth nginx.ljt"),
    ("growth-sampled.txt", 0, "growth sampled.ljt"),
    ("growth.json", 0, "growth gc64.ljt --format json"),
    ("growth.csv", 0, "growth threads.ljt --format csv"),
    ("growth.svg", 0, "growth nginx.ljt --format svg"),
    ("sites.txt", 0, "sites sites.ljt"),
    ("sites-calls.txt", 0, "sites sites.ljt --by calls --from 50ms --to 150ms"),
    ("sites.json", 0, "sites sites.ljt --by live --format json"),
    ("sites.csv", 0, "sites sites.ljt --format csv"),
    ("sites.svg", 0, "sites sites.ljt --format svg"),
    ("batch.txt", 0, "batch gc64.ljt sampled.ljt snapshot.ljt -o OUT"),
    ("batch.json", 0, "batch gc64.ljt sampled.ljt snapshot.ljt -o OUT --format json"),
    ("partial.csv", 0, "partial sampled.ljt --service shop --format csv"),
    ("partial.jsonl", 0, "partial snapshot.ljt --node web-1 --build r7 --format jsonl"),
    ("report.html", 0, "report snapshot.ljt"),
    ("verify.txt", 0, "verify threads.ljt"),
    ("verify-sampled.txt", 0, "verify sampled.ljt"),
    ("verify.json", 0, "verify threads.ljt --format json"),
    ("info.txt", 0, "info snapshot.ljt"),
    ("info-sampled.txt", 0, "info sampled.ljt"),
    ("info.json", 0, "info snapshot.ljt --format json"),
    ("schema.json", 0, "schema verify"),
    ("completions.bash", 0, "completions bash"),
    ("man.1", 0, "man"),
    ("events.csv", 0, "events sampled.ljt --format csv"),
];

fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/traces")
}

/// Runs a command line; the folder OUT is a new one each time, and is called so in what is printed.
fn run_line(line: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out").display().to_string();
    let mut output = run(line.split(' ').map(|word| if word == "OUT" { out.as_str() } else { word }));
    if line.contains("OUT") {
        output.stdout = String::from_utf8(output.stdout).expect("text").replace(&out, "OUT").into_bytes();
    }
    output
}

/// Runs `analyze` where the traces are.
fn run<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_analyze"));
    command.args(words).current_dir(traces()).env_remove("NO_COLOR").output().expect("analyze runs")
}

/// What a command line prints; it must end well, or with the code of an incomplete answer.
fn printed(line: &str) -> String {
    let output = run_line(line);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 2 | 3)), "analyze {line}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn outputs_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut wrong = Vec::new();
    for (name, code, line) in LINES {
        let output = run_line(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "analyze {line}: {said}");
        let path = folder.join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &output.stdout).expect("a golden file");
        }
        if std::fs::read(&path).ok().as_ref() != Some(&output.stdout) {
            wrong.push(format!("{name}: analyze {line}"));
        }
    }
    assert!(wrong.is_empty(), "these differ; look at them, then BLESS=1 writes them anew:\n{}", wrong.join("\n"));
}

#[test]
fn every_golden_file_and_every_command_has_a_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder).expect("the golden files");
    let files: BTreeSet<String> =
        files.map(|file| file.expect("a file").file_name().into_string().expect("text")).collect();
    let named: BTreeSet<String> = LINES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(files, named, "golden files, and lines that name them");
    for command in Arguments::command().get_subcommands() {
        let name = command.get_name();
        let lines = || LINES.iter().filter(|(.., line)| line.split(' ').next() == Some(name));
        assert!(lines().count() > 0, "`analyze {name}` has no line in LINES");
        let formats = command.get_arguments().find(|argument| argument.get_id() == "format");
        for format in formats.map(clap::Arg::get_possible_values).unwrap_or_default() {
            let format = format.get_name();
            let shown = match format {
                // The first of its formats is what a command writes unasked.
                "text" => lines().any(|(name, ..)| name.ends_with(".txt")),
                // The same rows as the CSV: `figures` compares them.
                "parquet" | "jsonl" => true,
                _ => lines().any(|(.., line)| line.contains(&format!("--format {format}"))),
            };
            assert!(shown, "`analyze {name} --format {format}` has no line in LINES");
        }
    }
}

#[test]
fn text_fits_80_columns_and_has_no_colours_where_no_terminal_is() {
    for (name, _, line) in LINES.iter().filter(|(name, ..)| name.ends_with(".txt")) {
        for row in printed(line).lines() {
            assert!(!row.contains('\x1b'), "{name}: {row:?}");
            assert!(row.chars().count() <= 80 && row.trim_end() == row, "{name}: {row:?}");
        }
    }
}

#[test]
fn a_file_has_the_bytes_of_standard_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a name with spaces");
    let with_file = |line: &str| {
        let command = line.split(' ').next().unwrap_or_default();
        let command = Arguments::command().find_subcommand(command).cloned();
        command.is_some_and(|command| command.get_arguments().any(|argument| argument.get_id() == "output"))
    };
    let mut seen = 0;
    // Those of the manual and of a batch are folders.
    let to_folder = |line: &str| line.starts_with("man") || line.starts_with("batch");
    for (.., line) in LINES.iter().filter(|(.., line)| with_file(line) && !to_folder(line)) {
        let written = run(line.split(' ').map(OsStr::new).chain([OsStr::new("-o"), path.as_os_str()]));
        assert_eq!(String::from_utf8_lossy(&written.stdout), "", "{line}");
        assert!(std::fs::read_to_string(&path).expect("a file") == printed(line), "{line}");
        seen += 1;
    }
    assert!(seen > 10);
}

/// Runs in a terminal, as `script` of util-linux makes one.
fn in_a_terminal(environment: &[(&str, &str)], line: &str) -> String {
    let mut command = Command::new("script");
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_analyze"));
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(traces());
    let output = command.env_remove("NO_COLOR").envs(environment.iter().copied()).output().expect("script runs");
    assert!(output.status.success(), "{line}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_terminal_gets_colours_unless_it_wants_none() {
    for command in ["stats", "rates", "breakdown", "verify"] {
        let line = format!("{command} sampled.ljt");
        assert!(in_a_terminal(&[], &line).contains('\x1b'), "{line}");
        assert!(!in_a_terminal(&[("NO_COLOR", "1")], &line).contains('\x1b'), "{line}");
    }
}

#[test]
fn completions_and_manual_pages_are_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("analyze.bash");
    std::fs::write(&script, printed("completions bash")).expect("room");
    let checked = Command::new("bash").arg("-n").arg(&script).output().expect("bash runs");
    assert_eq!((checked.status.code(), String::from_utf8_lossy(&checked.stderr).as_ref()), (Some(0), ""));
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(printed(&format!("completions {shell}")).contains("breakdown"), "{shell}");
    }
    let pages = folder.path().join("man pages");
    let ran = run([OsStr::new("man"), OsStr::new("-o"), pages.as_os_str()]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let mut names: BTreeSet<String> = BTreeSet::new();
    for page in std::fs::read_dir(&pages).expect("pages") {
        let page = page.expect("a page").path();
        let groff = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(&page).output();
        match groff {
            Ok(said) => assert_eq!(String::from_utf8_lossy(&said.stderr), "", "{}", page.display()),
            Err(error) => eprintln!("SKIPPED the rendering of {}: groff: {error}", page.display()),
        }
        names.insert(page.file_name().and_then(OsStr::to_str).expect("text").to_owned());
    }
    let commands = Arguments::command();
    let commands = commands.get_subcommands().map(|command| format!("analyze-{}.1", command.get_name()));
    let wanted: BTreeSet<String> = commands.chain(["analyze.1".to_owned()]).collect();
    assert!(names.is_superset(&wanted), "{wanted:?} {names:?}");
}
