"""What scripts/bench runs: see there. Python's standard library alone.

Each round measures all variants one after the other, so that a machine that grows slow for a while does so for all of
them; ratios are taken within a round. A figure is the median of the rounds, its spread their least and greatest.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import bench_analysis
import bench_census
import bench_fleet
import bench_production
from bench_programs import (
    FOLDER,
    LUAJIT,
    ROOT,
    Counter,
    Nginx,
    PerfRecord,
    Probes,
    Process,
    Recorder,
    Workload,
    delete_stale_probes,
)

BUILT = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
RESULTS = ROOT / "testdata/bench/results.json"

# What --only takes: costs and replay; stacks; a saturated nginx; many and large traces, made up; the census of a heap; many
# traces on Spark.
PARTS = "calls", "stacks", "production", "analysis", "census", "fleet"

# Workloads with their arguments.
LOOP = "bench_loop", 1  # 0.5 million calls
STEADY_SHORT, STEADY_LONG = ("bench_loop", 6, 300000), ("bench_loop", 30, 300000)  # 3 and 15 million, one heap
STACKS = "bench_loop", 12  # 6 million: stacks are taken for half a second now and then, so it must last
CHURN, CHURN_PERF = ("churn", 3), ("churn", 0.25)  # 6.3 and 0.5 million
NGINX_SECONDS = 6
NGINX_CALLS = 5.5e6  # in the last recording of nginx, the one that is replayed, as far as the rate before foretells
NGINX_SECONDS_MAX = 25
NGINX_PERF_SECONDS = 2


# What is measured. Each function returns what it saw; `rows` makes figures of it.


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def record_workload(workload, name, *options):
    """A recording from `ready` to `done`."""
    with Workload(*workload) as program, Recorder(program.pid, FOLDER / name, *options) as recorder:
        figures = program.run()
        return recorder.stop() | {"figures": figures}


def measure_loop(site, turn):
    """The tight loop without probes and with each kind, in an order that changes from round to round."""
    file, entry, address = site
    seen = {}

    def note(variant, figures, calls):
        seen[variant] = {"cpu_s": float(figures["cpu_s"]), "wall_s": float(figures["wall_s"]), "calls": calls}

    def bare():
        with Workload(*LOOP) as program:
            note("bare", program.run(), None)

    def floor():
        with Workload(*LOOP) as program, Counter(program.pid, file, address) as counter:
            figures = program.run()
            note("floor", figures, counter.count())

    def record():
        result = record_workload(LOOP, "loop.ljt")
        note("record", result["figures"], result["calls"])

    def perf():
        with Workload(*LOOP) as program, Probes(file, entry), PerfRecord(program.pid, FOLDER / "loop.data") as perf:
            figures = program.run()
            note("perf", figures, perf.stop()["calls"])

    variants = [bare, floor, record, perf]
    for step in range(len(variants)):
        variants[(turn + step) % len(variants)]()
    return seen


def measure_stacks(turn):
    """A long loop without probes, recorded, and recorded with stacks; what the target used of the processor for each."""
    seen = {}

    def bare():
        with Workload(*STACKS) as program:
            seen["bare"] = {"cpu_s": float(program.run()["cpu_s"])}

    def recorded(variant, *options):
        result = record_workload(STACKS, "stacks.ljt", *options)
        seen[variant] = {"cpu_s": float(result["figures"]["cpu_s"]), "calls": result["calls"]}

    variants = [bare, lambda: recorded("record"), lambda: recorded("stacks", "--stacks=1/1000")]
    for step in range(len(variants)):
        variants[(turn + step) % len(variants)]()
    return seen


def measure_stacks_often(rounds):
    seen = []
    for turn in range(rounds):
        say(f"stacks, round {turn + 1} of {rounds}")
        seen.append(measure_stacks(turn))
    return seen


def measure_nginx(nginx, seconds, name, path="/same"):
    with Recorder(nginx.worker, FOLDER / name) as recorder:
        rate = nginx.load(seconds, path)
        return recorder.stop() | {"requests_per_s": rate, "site": (recorder.file, recorder.entry)}


def perf_nginx(nginx, site):
    with Probes(*site), PerfRecord(nginx.worker, FOLDER / "nginx.data") as perf:
        rate = nginx.load(NGINX_PERF_SECONDS)
        return perf.stop() | {"requests_per_s": rate}


def perf_churn(site):
    file, entry, _ = site
    with Workload(*CHURN_PERF) as program, Probes(file, entry), PerfRecord(program.pid, FOLDER / "churn.data") as perf:
        program.run()
        return perf.stop()


def timed(command):
    """Runs a command to its end: processor time, time on the wall, most memory."""
    start = time.monotonic()
    with Process(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        code = process.wait()
        if code not in (0, 2):  # 2 is a trace with a gap, replayed all the same
            raise RuntimeError(f"{command}: exit status {code}")
        return {"cpu_s": process.cpu_s, "wall_s": time.monotonic() - start, "rss_kib": process.usage.ru_maxrss}


def measure_replay():
    """The traces verified, by one thread and by all, and one perf.data printed, each by itself."""
    verify = [FOLDER / "analyze", "verify"]
    seen = {"perf_script": timed(["perf", "script", "-i", FOLDER / "churn.data"])}
    for trace in ["churn", "nginx"]:
        seen[f"{trace}_one_thread"] = timed([*verify, "-j", "1", FOLDER / f"{trace}.ljt"])
    for trace in ["churn", "nginx", "steady_short", "steady_long"]:
        seen[trace] = timed([*verify, FOLDER / f"{trace}.ljt"])
    return seen


def measure(rounds):
    raw = {"loop": [], "churn": [], "nginx": [], "replay": []}
    # Not kept, and warms up: finds out where LuaJIT's door is.
    with Workload("bench_loop", 0.01) as program, Recorder(program.pid, FOLDER / "loop.ljt") as recorder:
        program.run()
        recorder.stop()
        site = recorder.file, recorder.entry, recorder.site
        raw["site_emulated"] = recorder.emulated

    for turn in range(rounds):
        say(f"cost a call, round {turn + 1} of {rounds}")
        raw["loop"].append(measure_loop(site, turn))

    say("a steady heap for the memory of the analysis, and the churning one by perf record")
    # Snapshots at the ends alone, where the heap is the same. Between them a slow machine would take more, and of a
    # larger heap.
    ends = "--keyframe-every", "1h"
    raw["steady_short"] = record_workload(STEADY_SHORT, "steady_short.ljt", *ends)
    raw["steady_long"] = record_workload(STEADY_LONG, "steady_long.ljt", *ends)
    raw["churn_perf"] = perf_churn(site)

    with Nginx(FOLDER / "nginx-prefix") as nginx:
        say("nginx without probes, and under perf record")
        raw["nginx_bare"] = {"requests_per_s": nginx.load(2)}
        seconds = NGINX_SECONDS
        for turn in range(rounds):
            say(f"long recordings, round {turn + 1} of {rounds}: nginx for {seconds:.0f} s")
            raw["nginx"].append(measure_nginx(nginx, seconds, "nginx.ljt"))
            raw["churn"].append(record_workload(CHURN, "churn.ljt"))
            if turn == rounds - 2:
                rate = raw["nginx"][-1]["calls"] / seconds
                seconds = min(max(NGINX_CALLS / rate, NGINX_SECONDS), NGINX_SECONDS_MAX)
        raw["nginx_varied"] = measure_nginx(nginx, seconds, "varied.ljt", "/json")
        raw["nginx_perf"] = perf_nginx(nginx, raw["nginx"][-1]["site"])
        for one in [*raw["nginx"], raw["nginx_varied"]]:
            del one["site"]  # names a file of this machine

    for turn in range(rounds):
        say(f"replay, round {turn + 1} of {rounds}")
        raw["replay"].append(measure_replay())
    return raw


# What it comes to.


def rows(raw):
    """The table: what, unit, one figure a round, bar."""
    table = []

    def section(title):
        table.append({"section": title})

    def row(what, unit, values, bar=None):
        values = list(values)
        one = {"what": what, "unit": unit, "median": statistics.median(values), "min": min(values), "max": max(values)}
        if bar:
            kind, limit = bar
            met = one["median"] <= limit if kind == "<=" else one["median"] >= limit
            one |= {"bar": f"{kind} {limit:g}", "verdict": "pass" if met else "MISS"}
        table.append(one)

    def cost(variant, clock="cpu_s"):
        """Microseconds a call, round by round."""
        return [(r[variant][clock] - r["bare"][clock]) / r[variant]["calls"] * 1e6 for r in raw["loop"]]

    def ratio(above, below):
        return [a / b for a, b in zip(above, below)]

    def each(recordings, above, scale=1):
        return [one[above] / one["calls"] * scale for one in recordings]

    floor, record, perf = cost("floor"), cost("record"), cost("perf")
    section("Cost of a call to the target: its own processor time, in a tight loop of allocations")
    row("counting only, on an emulated instruction (the floor)", "us", floor)
    row("record", "us", record)
    row("perf record, entry and return", "us", perf)
    row("record / floor", "x", ratio(record, floor), ("<=", 1.4))
    row("perf record / record", "x", ratio(perf, record), (">=", 5))
    wall = [cost(variant, "wall_s") for variant in ("floor", "record", "perf")]
    row("the same two by the clock on the wall: record / floor", "x", ratio(wall[1], wall[0]))
    row("... perf record / record", "x", ratio(wall[2], wall[1]))

    def hit(variant):
        """Microseconds that a hit adds in the mean, round by round."""
        return [(r[variant]["cpu_s"] - r["bare"]["cpu_s"]) / r[variant]["calls"] * 1e6 for r in raw["stacks"]]

    if raw.get("stacks"):
        row("record, a longer loop", "us", hit("record"))
        row("the same with the stacks of one call of 1,000: the longer one / the other", "x",
            ratio(hit("stacks"), hit("record")), ("<=", 1.03))

    section("Size of the recording, a call")
    row("churning heap", "bytes", each(raw["churn"], "bytes"), ("<=", 2.3))
    row("churning heap, perf record", "bytes", each([raw["churn_perf"]], "bytes"))
    row("nginx, the same document every time", "bytes", each(raw["nginx"], "bytes"), ("<=", 0.6))
    row("nginx, documents that differ", "bytes", each([raw["nginx_varied"]], "bytes"))
    row("nginx, perf record", "bytes", each([raw["nginx_perf"]], "bytes"))

    section("The recorder's own processor time, a call, attaching and snapshots included")
    row("churning heap", "ns", each(raw["churn"], "recorder_cpu_s", 1e9), ("<=", 150))
    row("churning heap, perf record", "ns", each([raw["churn_perf"]], "recorder_rusage_s", 1e9))
    row("nginx", "ns", each(raw["nginx"], "recorder_cpu_s", 1e9), ("<=", 150))
    row("nginx, perf record", "ns", each([raw["nginx_perf"]], "recorder_rusage_s", 1e9))

    def speed(replay, calls, clock="cpu_s"):
        return [calls / r[replay][clock] / 1e6 for r in raw["replay"]]

    churn, nginx, samples = raw["churn"][-1]["calls"], raw["nginx"][-1]["calls"], 2 * raw["churn_perf"]["calls"]
    section("Replay with every snapshot verified, `analyze verify -j 1`, by processor time")
    row(f"churning heap, {churn / 1e6:.1f} million calls", "M calls/s", speed("churn_one_thread", churn), (">=", 4))
    row(f"nginx, {nginx / 1e6:.1f} million calls", "M calls/s", speed("nginx_one_thread", nginx), (">=", 8))
    row("the same two by the clock, all processors: churning heap", "M calls/s", speed("churn", churn, "wall_s"))
    row("... nginx", "M calls/s", speed("nginx", nginx, "wall_s"))
    row("perf script, printing the churning heap's samples", "M samples/s", speed("perf_script", samples))

    def memory(replay):
        return [r[replay]["rss_kib"] / 1024 for r in raw["replay"]]

    short, long = raw["steady_short"]["calls"], raw["steady_long"]["calls"]
    section("Memory of the analysis: the most that `analyze verify` held, a steady heap of 300,000 tables")
    row(f"{short / 1e6:.1f} million calls", "MiB", memory("steady_short"))
    row(f"{long / 1e6:.1f} million calls", "MiB", memory("steady_long"))
    growth = ratio(memory("steady_long"), memory("steady_short"))
    row(f"the second / the first, of {long / short:.1f} times the calls", "x", growth, ("<=", 1.1))
    if "production" in raw:
        bench_production.rows(raw["production"], section, row)
    if "analysis" in raw:
        bench_analysis.rows(raw["analysis"], section, row)
    if "census" in raw:
        bench_census.rows(raw["census"], section, row)
    if "fleet" in raw:
        bench_fleet.rows(raw["fleet"]["rounds"], section, row)
    return table


def number(value):
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cells(row):
    spread = f"{number(row['min'])}-{number(row['max'])}" if row["min"] != row["max"] else ""
    return row["what"], f"{number(row['median'])} {row['unit']}".rstrip(), spread, row.get("bar", ""), row.get("verdict", "")


def caption(document):
    machine = document["machine"]
    return (
        f"{machine['date']}, {machine['cpu']}, {machine['processors']} processors, Linux {machine['kernel']}, "
        f"{machine['luajit']}, {machine['perf']}; median and spread of {document['rounds']} rounds; "
        f"load of the machine before: {machine['load_before']:.1f}"
    )


def show(document, markdown):
    headings = "What", "Median", "Spread", "Bar", ""
    table = document["rows"]
    if markdown:
        print("| " + " | ".join(headings) + " |")
        print("|---|--:|--:|--:|---|")
        for row in table:
            one = (f"**{row['section']}**", "", "", "", "") if "section" in row else cells(row)
            print("| " + " | ".join(one) + " |")
        print(f"\n{caption(document)}.")
        return
    lines = [headings] + [cells(row) for row in table if "section" not in row]
    width = [max(len(line[column]) for line in lines) for column in range(5)]

    def line(columns):
        first, *others = columns
        text = [first.ljust(width[0] + 2)] + [cell.rjust(w) for cell, w in zip(others[:3], width[1:4])] + [others[3]]
        print("  ".join(text).rstrip())

    print(caption(document))
    line(headings)
    for row in table:
        if "section" in row:
            print(f"\n{row['section']}")
        else:
            one = cells(row)
            line((f"  {one[0]}", *one[1:]))


def machine():
    """What the figures depend on, and nothing that names this machine."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)

    def version(*command):
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
        return re.sub(r" --? Copyright.*", "", said.splitlines()[0])

    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "cpu": cpu[1] if cpu else platform.machine(),
        "arch": platform.machine(),
        "processors": os.cpu_count(),
        "virtual": "hypervisor" in pathlib.Path("/proc/cpuinfo").read_text(),
        "kernel": platform.release(),
        "luajit": version(LUAJIT, "-v"),
        "nginx": version("nginx", "-v"),
        "perf": version("perf", "--version"),
        "load_before": os.getloadavg()[0],
    }


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures what ljscope costs.")
    parser.add_argument("--markdown", action="store_true", help="print the table as the README has it")
    parser.add_argument("--show", action="store_true", help="print the kept figures again, measure nothing")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured [default: 5]")
    parser.add_argument("--production-rounds", type=int, default=3, help="the same on a saturated nginx [default: 3]")
    parser.add_argument("--only", choices=PARTS, help="measure one part, keep the figures of the others")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="where the raw data are")
    arguments = parser.parse_args()
    if arguments.show:
        document = json.loads(arguments.results.read_text())
        document["rows"] = rows(document["raw"])
        show(document, arguments.markdown)
        return
    # Left by an exception, every `with` ends its process and deletes its probes.
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, lambda number, _: sys.exit(128 + number))

    start = time.monotonic()
    document = {"machine": machine(), "rounds": arguments.rounds}
    raw = {}
    if arguments.only:
        kept = json.loads(arguments.results.read_text())
        raw = kept["raw"]
        if arguments.only != "calls":
            document = {"machine": kept["machine"], "rounds": kept["rounds"]}
    if document["machine"]["load_before"] > 0.5:
        say(f"other programs run here (load {document['machine']['load_before']:.1f}): figures will spread")
    try:
        FOLDER.mkdir(0o755)
        for program in ("record", "analyze", "examples/generate", "examples/census"):  # a build meanwhile must not change what is measured
            shutil.copy2(BUILT / program, FOLDER)
        delete_stale_probes()
        if arguments.only in (None, "calls"):
            raw |= measure(arguments.rounds)
        if arguments.only in (None, "stacks"):
            raw["stacks"] = measure_stacks_often(arguments.rounds)
        if arguments.only in (None, "analysis"):
            raw["analysis"] = bench_analysis.measure(min(arguments.rounds, 3), say)
            raw["analysis"]["load_before"] = machine()["load_before"]
        if arguments.only in (None, "census"):
            raw["census"] = bench_census.measure(arguments.rounds)
        if arguments.only in (None, "fleet"):
            load = machine()["load_before"]
            raw["fleet"] = {"rounds": bench_fleet.measure(min(arguments.rounds, 3), say), "load_before": load}
        if arguments.only in (None, "production"):
            raw["production"] = bench_production.measure(arguments.production_rounds, say)
            raw["production"]["load_before"] = machine()["load_before"]
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    document |= {"took_s": round(time.monotonic() - start), "rows": rows(raw), "raw": raw}
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(document, indent=1) + "\n")
    show(document, arguments.markdown)


if __name__ == "__main__":
    main()
