"""Tests what an executor does with traces that are no good, in place of which stand programs that are not `analyze`."""

import json

import traces

# What stands for `analyze`, and how its trace fails.
PROGRAMS = {
    "sleep 100": "not done after 2 s",
    "kill -SEGV $$": "analyze was ended by SIGSEGV",
    "echo 'thread panicked at nowhere' >&2; exit 101": "analyze was ended by a panic: thread panicked at nowhere",
    f"echo '{traces.failure('', {'service': 100 * 's'}, '')}'": "the name of its service has more than 80 bytes",
    "exec head -c 400000000 /dev/zero": "analyze was ended by SIGXFSZ",
}
# What is no fault of the trace, and what is said then.
NOT_ITS_FAULT = {
    "echo 'no such option' >&2; exit 1": "cannot be run here: exit status 1: no such option",
    "exit 0": "other columns",
    """echo '{"service": "a", "metric": "vms"}'""": "other columns",
}


def check(analyze, large, folder):
    """With the real one as well, and a trace that is too large for the memory that it may have."""
    program = folder / "not-analyze"

    def rows(path, memory, uri):
        task = traces.Task(str(path), seconds=2, memory=memory, pattern=None, configuration="")
        return [json.loads(line) for line in traces.rows(task, f"file:{uri}")]

    def failed(path, memory=2 << 30, uri=large):
        (row,) = rows(path, memory, uri)
        assert (row["metric"], row["value"], row["trace"]) == ("traces_failed", 1, str(uri)), row
        return row["name"]

    for script, reason in PROGRAMS.items():
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert failed(program) == reason, failed(program)
    assert "ended by SIGABRT: memory allocation of " in failed(analyze, memory=80 << 20)
    assert len(rows(analyze, 2 << 30, large)) > 100
    gone = failed(analyze, uri=folder / "gone.ljt")
    assert gone.startswith("cannot be read: ") and "No such file" in gone, gone

    for script, reason in NOT_ITS_FAULT.items():
        program.write_text(f"#!/bin/sh\n{script}\n")
        try:
            rows(program, 2 << 30, large)
        except RuntimeError as error:
            assert reason in str(error), error
        else:
            raise AssertionError(f"{script}: was taken for a trace's fault")

    # The row that is written here has the columns of those that `analyze` writes.
    empty = folder / "empty.ljt"
    empty.write_bytes(b"")
    ours, theirs = json.loads(traces.failure(str(empty), {}, "")), rows(analyze, 2 << 30, empty)
    assert [{**row, "name": ""} for row in theirs] == [ours], theirs
