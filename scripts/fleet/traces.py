"""What an executor does with a trace: `analyze partial` on it, within limits of time and memory, and the rows that it gives.

A trace fails alone: damaged, over its limits or deadly to `analyze`, it is one row that says so. What is not the trace's
fault, such as an `analyze` that does not start here, is an error of the task, which Spark tries elsewhere.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
from collections import namedtuple

import hadoop

# The schema of `analyze partial`, version 1: keys, one value that is summed, and a range of time.
TEXTS = "service day node build program role label luajit mode trace recording metric name"
NUMBERS = "generation worker pid vm bucket value first_ns last_ns"
SCHEMA = ", ".join(
    [f"{name} STRING" for name in TEXTS.split()] + [f"{name} BIGINT" for name in NUMBERS.split()]
)

MOST_ROWS = 256 << 20  # bytes that the rows of one trace may have
LONGEST = 80  # bytes of a service's name: it becomes a directory's, and each of them may be escaped by three
LIMITS = 'ulimit -v "$1" && ulimit -t "$2" && ulimit -f "$3" && shift 3 && exec "$@"'

# How to go about it. `analyze`: the program's name among the files sent along, or a path that every node has; `seconds`
# and `memory`, in bytes, that a trace may take; `pattern`: finds service, node and build in a path; `configuration` of
# Hadoop's file systems, as XML.
Task = namedtuple("Task", "analyze seconds memory pattern configuration")

_reader = None


def spread(files, most, most_bytes=64 << 20):
    """Partitions of (path, length): at most `most` traces in each, the largest first, so that no slow one is begun last."""
    partitions, bytes_in_last = [], 0
    for path, length in sorted(files, key=lambda file: (-file[1], file[0])):
        if not partitions or len(partitions[-1]) == most or bytes_in_last + length > most_bytes:
            partitions.append([])
            bytes_in_last = 0
        partitions[-1].append(path)
        bytes_in_last += length
    return partitions


def rows(task, uri):
    """The rows of a trace, as lines of JSON. Raises RuntimeError where `analyze` cannot be run."""
    identity = re.search(task.pattern, uri).groupdict("") if task.pattern and re.search(task.pattern, uri) else {}
    # A local path stays one: `file:/a` and `file:///a`.
    scheme, colon, rest = uri.partition(":")
    local = colon and scheme == "file"
    name = "/" + rest.lstrip("/") if local else uri
    options = [word for key, value in identity.items() if value for word in (f"--{key}", value)]
    command = [program(task.analyze), "partial", "--format", "jsonl", "-j", "1", "--input-name", name, *options, "-"]
    try:
        if local:
            with open(name, "rb") as source:
                return run(task, command, source)
        return streamed(task, command, uri)
    except Failed as failed:
        return [failure(name, identity, str(failed))]
    except OSError as error:
        return [failure(name, identity, f"cannot be read: {error}")]


class Failed(Exception):
    """Why a trace has no rows."""


def streamed(task, command, uri):
    """The same of a file that only Hadoop can open."""
    global _reader
    from pyspark import SparkFiles

    if _reader is None or _reader.ended():
        _reader = hadoop.Reader(task.configuration, SparkFiles.getRootDirectory())
    stream = hadoop.Stream(_reader, uri)
    try:
        lines = run(task, command, stream.pipe)
    finally:
        if not stream.close():  # whatever it hangs on: the next trace gets another
            _reader.end()
    if stream.error:
        raise OSError(stream.error)
    return lines


def run(task, command, source):
    """Runs `analyze` on a trace that is its standard input."""
    # Of processor time more than of time: only for those that nobody waits for any more.
    limits = task.memory // 1024, 2 * task.seconds, MOST_ROWS // 512
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        whole = ["sh", "-c", LIMITS, "sh", *map(str, limits), *command]
        with subprocess.Popen(whole, stdin=source, stdout=out, stderr=errors) as child:
            try:
                status = child.wait(task.seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                raise Failed(f"not done after {task.seconds} s") from None
        out.seek(0)
        errors.seek(0)
        if status in (0, 2):  # 2: incomplete, contradicted or damaged, and the rows say it
            return checked(out.read().decode().split("\n")[:-1])
        said = [" ".join(errors.read(1000).decode(errors="replace").split("\n")[:2]).strip()]
        if status < 0 or status == 101:  # ended by a signal, or a panic
            how = f"by {signal.Signals(-status).name}" if status < 0 else "by a panic"
            raise Failed(": ".join(filter(None, [f"analyze was ended {how}", *said])))
        raise RuntimeError(": ".join([f"{command[0]} cannot be run here: exit status {status}", *said]))


def checked(lines):
    """The rows of a trace, if they are rows as they are known here."""
    columns = {*TEXTS.split(), *NUMBERS.split()}
    first = json.loads(lines[0]) if lines else {}
    if set(first) != columns:
        raise RuntimeError(f"another version of analyze? Its rows have other columns: {sorted(columns ^ set(first))}")
    if len(first["service"].encode()) > LONGEST:  # whoever made the trace chose it
        raise Failed(f"the name of its service has more than {LONGEST} bytes")
    return lines


def failure(name, identity, reason):
    """The one row of a trace that failed, as `analyze` itself writes it."""
    row = dict.fromkeys(TEXTS.split(), "") | dict.fromkeys(NUMBERS.split(), 0)
    row |= {"service": "unknown", "day": "unknown", "build": "unknown"} | identity
    row |= {"trace": name, "recording": name, "metric": "traces_failed", "name": reason, "bucket": -1, "value": 1}
    return json.dumps(row)


def program(analyze):
    """Where `analyze` is on this node."""
    if os.path.isabs(analyze):
        return analyze
    from pyspark import SparkFiles

    return SparkFiles.get(analyze)
