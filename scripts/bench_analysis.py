"""What scripts/bench measures of the analysis of many and of large traces. Python's standard library alone.

The traces are made by analyze/examples/generate, the same ones in every run. It takes some minutes and 1.2 GB of disk.
"""

import os
import re
import shutil
import subprocess
import time

from bench_programs import FOLDER

SMALL, FEW, SMALL_CALLS = 1_000, 100, 40_000  # traces, and calls in each
LARGE = "1GB"
CALLS = 100_000_000
EVERY = 1_000_000  # calls from keyframe to keyframe of large traces; they are a microsecond apart


def timed(command):
    """Runs a command to its end, however long it takes: time on the wall, processor time, most memory."""
    start = time.monotonic()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{command}: exit status {child.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return {"wall_s": time.monotonic() - start, "cpu_s": cpu, "rss_kib": usage.ru_maxrss}


def generate(trace, *options):
    """Makes a trace, or a directory of them; returns the calls in the last one."""
    command = [str(word) for word in (FOLDER / "generate", *options, "-o", trace)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    return int(re.findall(r": (\d+) calls", said)[-1])


def batch(traces, threads):
    """Into a directory that is made anew, so that nothing is kept."""
    out = FOLDER / "batch"
    try:
        return timed([FOLDER / "analyze", "batch", traces, "-o", out, "-j", threads])
    finally:
        shutil.rmtree(out, ignore_errors=True)


def measure_batch(rounds, say):
    many, few = FOLDER / "many", FOLDER / "few"
    generate(many, "--traces", SMALL, "--calls", SMALL_CALLS, "--live", 4_000, "--keyframe-every", SMALL_CALLS // 2)
    few.mkdir()
    for trace in sorted(many.iterdir())[:FEW]:
        os.link(trace, few / trace.name)
    batch(few, 2)  # not kept, and warms up
    seen = []
    for turn in range(rounds):
        say(f"{SMALL} traces at once, round {turn + 1} of {rounds}")
        # By turns the one and the other first: machines slow down and speed up by themselves.
        order = ("one", 1), ("two", 2)
        times = {name: batch(many, threads) for name, threads in (order if turn % 2 else order[::-1])}
        seen.append({**times, "few": batch(few, 2)})
    shutil.rmtree(many)
    shutil.rmtree(few)
    return seen


def measure_large(rounds, say):
    """A moment near the end, half way behind the keyframe before."""
    say(f"a trace of {LARGE}")
    trace = FOLDER / "large.ljt"
    calls = generate(trace, "--bytes", LARGE, "--keyframe-every", EVERY)
    stats = [FOLDER / "analyze", "stats", trace, "--at", f"{(calls - EVERY / 2) / 1e6:.1f}s"]
    seen = {"calls": calls, "bytes": os.path.getsize(trace), "rounds": [timed(stats) for _ in range(rounds + 1)][1:]}
    trace.unlink()
    return seen


def measure_calls(rounds, say):
    say(f"a trace of {CALLS / 1e6:.0f} million calls")
    trace = FOLDER / "calls.ljt"
    generate(trace, "--calls", CALLS, "--keyframe-every", EVERY)
    page = FOLDER / "report.html"
    seen = []
    for _ in range(rounds):
        verify = timed([FOLDER / "analyze", "verify", trace])
        seen.append({"verify": verify, "report": timed([FOLDER / "analyze", "report", trace, "-o", page])})
    trace.unlink()
    page.unlink()
    return seen


def measure(rounds, say):
    return {
        "batch": measure_batch(rounds, say),
        "large": measure_large(rounds, say),
        "calls": measure_calls(rounds, say),
    }


def rows(raw, section, row):
    batches, large, calls = raw["batch"], raw["large"], raw["calls"]
    section(f"`analyze batch` over {SMALL} traces of {SMALL_CALLS} calls each")
    row("on one thread", "s", (one["one"]["wall_s"] for one in batches))
    row("on one thread / on two", "x", (one["one"]["wall_s"] / one["two"]["wall_s"] for one in batches), (">=", 1.8))
    row("the most memory that it held", "MiB", (one["two"]["rss_kib"] / 1024 for one in batches))
    row(f"... of {FEW} of them", "MiB", (one["few"]["rss_kib"] / 1024 for one in batches))
    growth = (one["two"]["rss_kib"] / one["few"]["rss_kib"] for one in batches)
    row(f"... the first / the second, of {SMALL // FEW} times the traces", "x", growth, ("<=", 1.1))
    section(f"Large traces, as analyze/examples/generate makes them, a keyframe every {EVERY / 1e6:g} million calls")
    what = f"`analyze stats --at` near the end of {large['bytes'] / 1e9:.2f} GB, {large['calls'] / 1e6:.0f} million calls"
    row(what, "s", (one["wall_s"] for one in large["rounds"]), ("<=", 1))
    row("... the most memory that it held", "MiB", (one["rss_kib"] / 1024 for one in large["rounds"]))
    verify, report = ([one[what] for one in calls] for what in ("verify", "report"))
    row(f"`analyze verify` of {CALLS / 1e6:.0f} million calls", "s", (one["wall_s"] for one in verify))
    row("... a second", "M calls/s", (CALLS / one["wall_s"] / 1e6 for one in verify))
    row("... a second of processor time", "M calls/s", (CALLS / one["cpu_s"] / 1e6 for one in verify))
    row("... the most memory that it held", "MiB", (one["rss_kib"] / 1024 for one in verify))
    row("`analyze report` of the same", "s", (one["wall_s"] for one in report))
    row("... / `analyze verify`", "x", (one["report"]["wall_s"] / one["verify"]["wall_s"] for one in calls))
    more = ((one["report"]["rss_kib"] - one["verify"]["rss_kib"]) / 1024 for one in calls)
    row("... the most memory that it held, above `analyze verify`", "MiB", more, ("<=", 250))
