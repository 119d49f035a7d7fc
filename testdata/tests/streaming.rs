//! Traces through pipes: `record -o -` into `analyze`, and readers that have had enough.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use testdata::{
    Interpreter, LUAJIT, Program, Ran, Recorder, analyze, analyze_stream, info, may_record, run, skip, status_field,
    tool,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

/// `record -o - ARGUMENTS | COMMAND`: what the latter came to, the recorder's exit code and what it said.
fn pipe(arguments: &[&str], reader: &[&str]) -> Result<(Ran, i32, String)> {
    let mut recorder = Command::new(tool("record"));
    recorder
        .args(["--mode=full", "--max-pause=2s", "-o", "-"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut recorder = recorder.spawn()?;
    let trace = recorder.stdout.take().ok_or("no pipe")?;
    let mut command = Command::new(reader[0]);
    let reader = command.args(&reader[1..]).stdin(trace).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // It holds the pipe too, which must break when the reader ends.
    drop(command);
    let output = reader.wait_with_output()?;
    let mut said = String::new();
    recorder.stderr.take().ok_or("no pipe")?.read_to_string(&mut said)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let ran = Ran { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr };
    // Its stderr is at its end, so it is ending.
    Ok((ran, recorder.wait()?.code().unwrap_or(-1), said))
}

/// A program that is ready and then allocates for at most a minute, longer than any recording here.
fn long_lived() -> Result<Program> {
    let script = "io.write('ready\\n') io.flush() local t, stop = {}, os.time() + 60 \
                  while os.time() < stop do t[#t % 100 + 1] = { #t } end";
    let mut program = Program::start(Command::new(LUAJIT).args(["-e", script]))?;
    program.wait_ready()?;
    Ok(program)
}

#[test]
fn a_recording_flows_into_analyze() -> Result<()> {
    if !may("a_recording_flows_into_analyze") {
        return Ok(());
    }
    let program = long_lived()?;
    let pid = program.pid().to_string();
    let analyze = tool("analyze").display().to_string();
    let arguments = ["-p", &pid, "-d", "800ms", "--keyframe-every", "200ms"];
    let (ran, code, said) = pipe(&arguments, &[&analyze, "verify", "--format", "json", "-"])?;
    assert_eq!((ran.code, code), (0, 0), "{}\n{said}", ran.stderr);
    let document: serde_json::Value = serde_json::from_slice(&ran.stdout)?;
    assert_eq!((&document["judgement"], &document["source"]), (&"verified".into(), &"standard input".into()));
    assert!(document["verdict"]["calls_replayed"].as_u64() > Some(1000), "{document:#}");
    Ok(())
}

#[test]
fn what_the_program_prints_stays_out_of_the_trace() -> Result<()> {
    if !may("what_the_program_prints_stays_out_of_the_trace") {
        return Ok(());
    }
    // A moment in which to be seen.
    let script = "local start = os.clock() repeat until os.clock() - start > 0.3 print('hello') local t = {} for i = 1, 1e5 do t[i % 100] = { i } end print('bye')";
    let analyze = tool("analyze").display().to_string();
    for words in [vec!["--", LUAJIT, "-e", script], vec!["-c", &format!("{LUAJIT} -e \"{script}\"")]] {
        let (ran, code, said) = pipe(&words, &[&analyze, "verify", "-"])?;
        assert_eq!((ran.code, code), (0, 0), "{}\n{said}", ran.stderr);
        assert!(said.contains("hello") && said.contains("bye"), "{said}");
    }
    Ok(())
}

#[test]
fn a_reader_that_leaves_ends_the_recording_quietly() -> Result<()> {
    if !may("a_reader_that_leaves_ends_the_recording_quietly") {
        return Ok(());
    }
    for bytes in ["1000", "0"] {
        let program = long_lived()?;
        let arguments = ["-p", &program.pid().to_string(), "-d", "30s"];
        let (ran, code, said) = pipe(&arguments, &["head", "-c", bytes])?;
        assert_eq!((ran.code, ran.stdout.len()), (0, bytes.parse()?), "{said}");
        assert_eq!(code, 0, "head -c {bytes}: {said}");
        assert!(!said.contains("rror") && !said.contains("pipe") && !said.contains("panicked"), "{said}");
        assert!(!said.contains("ended:"), "it must end before its time is up: {said}");
        assert_eq!(status_field(program.pid(), "State")?.chars().next().map(|state| "RSD".contains(state)), Some(true));
    }
    Ok(())
}

#[test]
fn standard_input_reads_as_the_file_does() -> Result<()> {
    if !may("standard_input_reads_as_the_file_does") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut program = Interpreter::nogc64().start("direct", Some(0.5))?;
    program.wait_ready()?;
    let pid = program.pid().to_string();
    let mut recorder = Recorder::start([
        "--mode=full".as_ref(),
        "--max-pause=2s".as_ref(),
        "-p".as_ref(),
        pid.as_ref(),
        "-o".as_ref(),
        trace.as_os_str(),
    ])?;
    recorder.wait_recording()?;
    program.go()?;
    program.wait_done()?;
    assert_eq!(recorder.stop()?.0, 0);
    same(&trace)?;
    // A pipe that has a name is no file to go back and forth in either.
    let fifo = folder.path().join("fifo");
    assert_eq!(run(Command::new("mkfifo").arg(&fifo))?.code, 0);
    let mut cat = Command::new("sh").args(["-c", "exec cat \"$0\" >\"$1\""]).arg(&trace).arg(&fifo).spawn()?;
    let through = info(&fifo);
    cat.kill()?;
    cat.wait()?;
    assert_eq!(through?.1["frames"], info(&trace)?.1["frames"]);
    Ok(())
}

/// Every command, with the trace as a file and as standard input.
fn same(trace: &Path) -> Result<()> {
    let named = trace.display().to_string();
    for command in [
        "verify --format text",
        "verify --format json",
        "info --format text",
        "info --format json",
        "events --format csv",
        "events --format jsonl",
        "stats --format text",
        "stats --format json",
        "stats --format csv",
        "stats --format svg",
        "stats --at peak --format json",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let file = analyze([&words[..], &[&named]].concat())?;
        let stream = analyze_stream([&words[..], &["-"]].concat(), std::fs::File::open(trace)?)?;
        assert_eq!(file.status.code(), Some(0), "{command}: {}", String::from_utf8_lossy(&file.stderr));
        assert_eq!((file.status, file.stderr.len()), (stream.status, stream.stderr.len()), "{command}");
        if command.starts_with("events") {
            assert!(file.stdout == stream.stdout && file.stdout.len() > 1000, "{command}");
            continue;
        }
        // They differ in the name of the source alone, and how the lines that hold it break.
        let plain = |bytes: &[u8], name: &str| -> String {
            let text = String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ");
            text.replace(name, "NAME")
        };
        let (file, stream) = (plain(&file.stdout, &named), plain(&stream.stdout, "standard input"));
        assert!(file.contains("NAME") && stream.contains("NAME"), "{command}: {stream}");
        assert_eq!(file, stream, "{command}");
    }
    Ok(())
}
