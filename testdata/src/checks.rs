//! What `analyze` says about a trace, and what must hold of every recording.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::analyze;

/// What `analyze verify` says, once it must be spotless.
#[derive(Debug, Clone, Copy)]
pub struct Verified {
    /// Calls replayed.
    pub calls: u64,
    /// Chunks compared with keyframes.
    pub chunks: u64,
    /// Direct blocks compared with keyframes.
    pub direct: u64,
    /// Keyframes compared.
    pub keyframes: u64,
}

/// `analyze verify` as JSON, and its exit code.
///
/// # Errors
/// When it says no JSON; with what it says.
pub fn verdict(trace: &Path) -> io::Result<(i32, Value)> {
    json("verify", trace, &[])
}

/// `analyze info` as JSON, and its exit code.
///
/// # Errors
/// When it says no JSON; with what it says.
pub fn info(trace: &Path) -> io::Result<(i32, Value)> {
    json("info", trace, &[])
}

/// `analyze stats` as JSON, one object for each VM, and its exit code.
///
/// # Errors
/// When it says no JSON; with what it says.
pub fn stats(trace: &Path, arguments: &[&str]) -> io::Result<(i32, Vec<Value>)> {
    let (code, document) = json("stats", trace, arguments)?;
    Ok((code, if let Value::Array(vms) = document { vms } else { vec![document] }))
}

fn json(command: &str, trace: &Path, arguments: &[&str]) -> io::Result<(i32, Value)> {
    let words = [command, "--format", "json"].into_iter().chain(arguments.iter().copied());
    let output = analyze(words.map(OsStr::new).chain([trace.as_os_str()]))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_slice(&output.stdout).map_err(|error| {
        io::Error::other(format!("{command} {arguments:?} of {}: {error}: {said}", trace.display()))
    })?;
    Ok((output.status.code().unwrap_or(-1), document))
}

/// Checks a trace: nothing contradicted, nothing different, bins and `gc.total` included, nothing lost.
///
/// # Errors
/// When `analyze` gives no answer.
///
/// # Panics
/// When the answer is not spotless.
pub fn verify(trace: &Path, name: &str) -> io::Result<Verified> {
    let (code, document) = verdict(trace)?;
    let verdict = &document["verdict"];
    let number = |key: &str| verdict[key].as_u64().unwrap_or(u64::MAX);
    // With one keyframe there is nothing to compare with, only that every call agrees with the calls before.
    let expected = if number("keyframes_compared") > 0 { "verified" } else { "consistent" };
    assert_eq!(document["judgement"], expected, "{name}: {document:#}");
    assert_eq!(code, 0, "{name}");
    for key in ["chunks_differing", "direct_differing", "calls_lost"] {
        assert_eq!(number(key), 0, "{name}: {key}");
    }
    for key in ["contradictions", "differing", "gaps", "damage"] {
        assert_eq!(verdict[key].as_array().map(Vec::len), Some(0), "{name}: {key}");
    }
    assert_eq!(number("calls_replayed") + number("calls_not_replayed"), number("calls"), "{name}");
    Ok(Verified {
        calls: number("calls_replayed"),
        chunks: number("chunks_compared"),
        direct: number("direct_compared"),
        keyframes: number("keyframes_compared"),
    })
}

/// Checks a trace that may end anywhere or have gaps: whatever is in it is right. Returns its judgement; none if the
/// file is empty, because the recorder ended before it had written anything.
///
/// # Errors
/// When `analyze` gives no answer.
///
/// # Panics
/// When something is contradicted or differs.
pub fn uncontradicted(trace: &Path, name: &str) -> io::Result<Option<String>> {
    if std::fs::metadata(trace)?.len() == 0 {
        return Ok(None);
    }
    let (code, document) = verdict(trace)?;
    let verdict = &document["verdict"];
    assert!(code == 0 || code == 2, "{name}: {document:#}");
    for key in ["contradictions", "differing", "damage"] {
        assert_eq!(verdict[key].as_array().map(Vec::len), Some(0), "{name}: {key}: {document:#}");
    }
    for key in ["chunks_differing", "direct_differing"] {
        assert_eq!(verdict[key].as_u64(), Some(0), "{name}: {key}: {document:#}");
    }
    Ok(document["judgement"].as_str().map(str::to_owned))
}

/// Checks what `analyze stats` counts in a trace: everything adds up to the byte.
///
/// # Errors
/// When `analyze` gives no answer.
///
/// # Panics
/// When something does not add up.
pub fn sums(trace: &Path, arguments: &[&str], name: &str) -> io::Result<Vec<Value>> {
    let (_, vms) = stats(trace, arguments)?;
    assert!(!vms.is_empty(), "{name}");
    for vm in &vms {
        let sum = |key: &str| vm[key]["sum"].as_u64().unwrap_or(u64::MAX);
        let overhead = vm["ljscope"]["overhead_bytes"].as_u64().unwrap_or(u64::MAX);
        assert_eq!(
            u128::from(sum("used")) + u128::from(sum("free")) + u128::from(overhead),
            u128::from(sum("segments")),
            "{name}: {vm:#}"
        );
        let managed = i128::from(vm["luajit_GC_managed"].as_u64().unwrap_or(u64::MAX));
        assert_eq!(vm["luajit_big_chunks"].as_i64().map(i128::from), Some(managed - i128::from(sum("used"))), "{name}");
        for population in ["used", "free", "segments"] {
            let facts = &vm["ljscope"]["populations"][population];
            let of = |key: &str| {
                facts["buckets"].as_array().into_iter().flatten().filter_map(|bucket| bucket[key].as_u64()).sum::<u64>()
            };
            let bars = vm["distributions"][population].as_array().into_iter().flatten();
            let counted: u64 = bars.filter_map(|bar| bar["count"].as_u64()).sum();
            assert_eq!(Some(counted), vm[population]["count"].as_u64(), "{name}: {population}");
            assert_eq!(counted, of("count"), "{name}: {population}");
            assert_eq!(sum(population), of("bytes"), "{name}: {population}");
        }
    }
    Ok(vms)
}
