//! Traces that are cut, flipped, or none at all: `analyze` says where and why, or answers with what is whole and exit
//! code 2. It never panics, and never gives wrong figures for right ones.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use testdata::{Ran, fixture, run, tool};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn analyze(words: &[&str], trace: &Path) -> Result<Ran> {
    let ran = run(Command::new(tool("analyze")).args(words).arg(trace))?;
    assert!(!ran.stderr.contains("panicked"), "{words:?}: {}", ran.stderr);
    Ok(ran)
}

/// Numbers that are the same each time (xorshift64).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// An error: exit code 1, one line with the cause, nothing on standard output.
fn failed(ran: &Ran, what: &str) {
    assert_eq!(ran.code, 1, "{what}: {}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{what}: {}", ran.stderr);
    assert!(ran.stderr.starts_with("analyze: "), "{what}: {}", ran.stderr);
    assert_eq!(ran.stdout, b"", "{what}");
}

/// Where the whole frames of a trace end, ascending; the file header's end is the first.
fn ends(trace: &Path) -> Result<Vec<u64>> {
    let document: Value = serde_json::from_slice(&analyze(&["info", "--format", "json"], trace)?.stdout)?;
    let frames = document["frames"].as_array().ok_or("no frames")?;
    let mut offsets: Vec<u64> = frames.iter().filter_map(|frame| frame["offset"].as_u64()).collect();
    let last = frames.last().ok_or("no frames")?;
    // The head of a frame has 40 bytes.
    offsets.push(last["offset"].as_u64().unwrap_or(0) + 40 + last["bytes"].as_u64().unwrap_or(0));
    Ok(offsets)
}

#[test]
fn a_trace_cut_anywhere_is_read_up_to_its_last_whole_frame() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cut = folder.path().join("cut.ljt");
    for name in ["gc64", "threads"] {
        let whole = std::fs::read(fixture(name))?;
        let ends = ends(&fixture(name))?;
        let mut state = 0x9e37_79b9_7f4a_7c15;
        // The start byte by byte, the boundaries of frames, and anywhere.
        let boundaries = ends.iter().flat_map(|&end| [end - 1, end, end + 1, end + 39, end + 41]);
        let anywhere = (0..70).map(|_| random(&mut state) % whole.len() as u64);
        let mut lengths: Vec<u64> = (0..20).chain(boundaries).chain(anywhere).chain([whole.len() as u64 - 1]).collect();
        lengths.retain(|&length| length < whole.len() as u64);
        lengths.sort_unstable();
        lengths.dedup();
        let mut known = 0;
        for length in lengths {
            std::fs::write(&cut, &whole[..length as usize])?;
            let ran = analyze(&["verify", "--format", "json"], &cut)?;
            if ran.code == 1 {
                failed(&ran, &format!("{name} cut at {length}"));
                assert_eq!(known, 0, "{name} cut at {length}: less can be read than of a shorter one");
                assert!(ran.stderr.contains("not a trace") || ran.stderr.contains("byte"), "{length}: {}", ran.stderr);
                continue;
            }
            assert_eq!(ran.code, 2, "{name} cut at {length}: {}", ran.stderr);
            let document: Value = serde_json::from_slice(&ran.stdout)?;
            let verdict = &document["verdict"];
            assert_eq!(document["judgement"], "incomplete", "{name} cut at {length}: {document:#}");
            assert_eq!(verdict["contradictions"], Value::Array(vec![]), "{name} cut at {length}");
            let end = ends.iter().rfind(|&&end| end <= length).ok_or("no frame")?;
            let said = verdict["truncated"].as_str().unwrap_or_default();
            assert!(
                said.contains(&format!("byte {end} ")) || said.contains(&format!("byte {end}:")),
                "{name} cut at {length}, a frame ends at {end}: {said}"
            );
            let calls = verdict["calls"].as_u64().ok_or("no calls")?;
            assert!(calls >= known, "{name} cut at {length}: fewer calls than of a shorter one");
            known = calls;
            // Figures only with a keyframe to have them from, and a word about what is missing.
            let ran = analyze(&["stats", "--format", "json"], &cut)?;
            if verdict["keyframes"] == 0 {
                failed(&ran, &format!("stats of {name} cut at {length}"));
                assert!(ran.stderr.contains(&format!("byte {end} ")), "{length}: {}", ran.stderr);
            } else {
                assert_eq!(ran.code, 2, "stats of {name} cut at {length}: {}", ran.stderr);
            }
        }
        assert!(known > 0);
    }
    Ok(())
}

#[test]
fn a_flipped_bit_is_told_or_touches_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let flipped = folder.path().join("flipped.ljt");
    let json = |ran: &Ran| serde_json::from_slice::<Value>(&ran.stdout).unwrap_or_default();
    // All that a VM's statistics say apart from the name of the source and the verdict.
    let figures = |document: &Value| {
        let vms = document.as_array().cloned().unwrap_or_else(|| vec![document.clone()]);
        vms.iter()
            .map(|vm| {
                [vm["distributions"].clone(), vm["ljscope"]["populations"].clone(), vm["luajit_GC_managed"].clone()]
            })
            .collect::<Vec<_>>()
    };
    for name in ["gc64", "threads"] {
        let whole = std::fs::read(fixture(name))?;
        let right = figures(&json(&analyze(&["stats", "--format", "json"], &fixture(name))?));
        let rows = analyze(&["events"], &fixture(name))?.stdout;
        let mut state = 0xfeed_beef_cafe_f00d;
        for turn in 0..150 {
            // The large frames would take nearly all; the rest lies in the first and last kilobytes.
            let place = random(&mut state) as usize % whole.len();
            let place = match turn % 3 {
                0 => place % 1500,
                1 => whole.len() - 1 - place % 1500,
                _ => place,
            };
            let bit = random(&mut state) % 8;
            let what = format!("{name}, bit {bit} of byte {place}");
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            std::fs::write(&flipped, bytes)?;

            let ran = analyze(&["verify", "--format", "json"], &flipped)?;
            if ran.code == 1 {
                failed(&ran, &what);
            } else {
                let document = json(&ran);
                assert_eq!((ran.code, &document["judgement"]), (2, &"incomplete".into()), "{what}: {document:#}");
                let verdict = &document["verdict"];
                let told = [&verdict["damage"], &verdict["truncated"]].map(Value::to_string).join(" ");
                assert!(told.contains("byte "), "{what}: where? {document:#}");
            }
            if turn % 2 == 0 {
                let ran = analyze(&["stats", "--format", "json"], &flipped)?;
                let document = json(&ran);
                let told = document.to_string();
                match ran.code {
                    1 => failed(&ran, &what),
                    2 => assert!(
                        figures(&document) == right || told.contains("byte "),
                        "{what}: other figures and nothing said: {document:#}"
                    ),
                    code => panic!("{what}: stats exits with {code}"),
                }
            } else {
                let ran = analyze(&["events"], &flipped)?;
                match ran.code {
                    // The events are whole where something else is hit.
                    0 => assert!(ran.stdout == rows, "{what}: other rows and nothing said"),
                    1 | 2 => {
                        assert!(ran.stderr.contains("byte ") && rows.starts_with(&ran.stdout), "{what}: {}", ran.stderr)
                    }
                    code => panic!("{what}: events exits with {code}"),
                }
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_no_trace_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, bytes: &[u8]| -> Result<std::path::PathBuf> {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    };
    let whole = std::fs::read(fixture("gc64"))?;
    let mut future = whole.clone();
    future[8..10].copy_from_slice(&999_u16.to_le_bytes());
    let crc = crc32(&future[..12]);
    future[12..16].copy_from_slice(&crc.to_le_bytes());
    let mut unchecked = whole.clone();
    unchecked[8] ^= 1;
    let cases = [
        (file("empty", b"")?, "not a trace"),
        (file("text", b"This is a text, and long enough to hold a header of sixteen bytes.\n")?, "not a trace"),
        (file("future", &future)?, "version 999"),
        (file("unchecked", &unchecked)?, "checksum"),
        (file("header", &whole[..16])?, "truncated"),
        (folder.path().to_path_buf(), "directory"),
        (folder.path().join("missing"), "No such file"),
        ("/dev/null".into(), "not a trace"),
    ];
    for (path, word) in &cases {
        for words in [&["verify"][..], &["stats"], &["info"], &["events"], &["stats", "--at", "1ms"], &[]] {
            let ran = analyze(words, path)?;
            failed(&ran, &format!("{words:?} {}", path.display()));
            assert!(
                ran.stderr.contains(word) && ran.stderr.contains(&path.display().to_string()),
                "{words:?}: {}",
                ran.stderr
            );
        }
    }
    // Something behind the end is no clean end.
    let longer = file("longer", &[&whole[..], b"x"].concat())?;
    assert_eq!(analyze(&["verify"], &longer)?.code, 2);
    let twice = file("twice", &[&whole[..], &whole].concat())?;
    assert_eq!(analyze(&["verify"], &twice)?.code, 2);
    // A frame that claims to be longer than memory.
    let mut vast = whole[..16].to_vec();
    vast.extend_from_slice(&whole[16..20]);
    vast.extend_from_slice(&u32::MAX.to_le_bytes());
    vast.extend_from_slice(&whole[24..52]);
    let crc = crc32(&vast[16..52]);
    vast.extend_from_slice(&crc.to_le_bytes());
    failed(&analyze(&["verify"], &file("vast", &vast)?)?, "vast");
    Ok(())
}

/// The checksum of the format: CRC-32 as in zlib.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[test]
fn a_reader_that_leaves_is_no_error() -> Result<()> {
    for words in [
        "stats",
        "verify",
        "info",
        "info --format json",
        "events",
        "events --format jsonl",
        "stats --format csv",
        "stats --format json",
        "stats --format svg",
    ] {
        let mut child = Command::new(tool("analyze"))
            .args(words.split(' '))
            .arg(fixture("threads"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        // Dropped with the statement, and the pipe with it.
        BufReader::with_capacity(64, child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{words}");
        assert!(!line.is_empty(), "{words}");
    }
    Ok(())
}

#[test]
fn outputs_that_cannot_be_written_are_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kept = folder.path().join("kept");
    std::fs::write(&kept, "precious")?;
    let (kept, missing) = (kept.display().to_string(), folder.path().join("no/where").display().to_string());
    let trace = fixture("gc64");
    for (words, word) in [
        (vec!["stats", "--vm", "9", "-o", &kept], "no VM 9"),
        (vec!["stats", "--at", "9h", "-o", &kept], "earlier"),
        (vec!["stats", "--compat"], "--format json"),
        (vec!["events", "--format", "parquet"], "-o"),
        (vec!["events", "--vm", "9", "--format", "parquet", "-o", &kept], ""),
        (vec!["stats", "-o", &missing], &missing),
        (vec!["events", "-o", &missing], &missing),
    ] {
        let ran = analyze(&words, &trace)?;
        failed(&ran, &format!("{words:?}"));
        assert!(ran.stderr.contains(word), "{words:?}: {}", ran.stderr);
    }
    assert_eq!(std::fs::read_to_string(&kept)?, "precious", "a file is written whole or not at all");
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1, "a temporary file is left");

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    for words in
        ["stats", "verify", "info", "events", "stats --format csv", "stats --format json", "stats --format svg"]
    {
        let mut command = Command::new(tool("analyze"));
        let output =
            command.args(words.split(' ')).arg(&trace).stdout(full.try_clone()?).stderr(Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{words}: {said}");
        assert!(said.contains("No space left on device"), "{words}: {said}");
    }
    Ok(())
}

#[test]
fn wrong_command_lines() -> Result<()> {
    for words in ["", "stats", "verify", "stats --format yaml x", "verify --at 1s x", "-j none x", "rates --vm x y"] {
        let ran = run(Command::new(tool("analyze")).args(words.split_whitespace()))?;
        assert_eq!(ran.code, 1, "{words}: {}", ran.stderr);
        assert!(
            ran.stdout.is_empty() && ran.stderr.contains("--help") && !ran.stderr.contains("panicked"),
            "{words}: {}",
            ran.stderr
        );
    }
    for words in ["--help", "--version", "stats --help"] {
        let ran = run(Command::new(tool("analyze")).args(words.split(' ')))?;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{words}");
        assert!(!ran.stdout.is_empty(), "{words}");
    }
    Ok(())
}
