"""What a run of fleet.py left, against `analyze batch` figure by figure, and against what is known of the traces."""

import collections
import csv
import itertools
import subprocess

import duckdb

import made

ANSWERS = "copies totals quantiles workers_that_differ nodes_that_differ builds_that_regress failed".split()
# The columns of batch's summary that are figures of the trace, and those of the VM.
OF_TRACE = """
files file_bytes trace_calls calls_replayed calls_not_replayed calls_lost contradictions gaps keyframes keyframes_compared
keyframes_missed chunks_compared chunks_differing direct_compared direct_differing damaged
"""
OF_VM = """
calls used_count used_bytes free_count free_bytes segments_count segments_bytes direct_count direct_bytes overhead_bytes
gc_total peak_bytes growth_bytes
"""


class Results:
    """The rows, sorted, as (columns by name); and the answers, a list of rows each."""

    def __init__(self, folder):
        out = folder / "out"
        hive = "hive_partitioning = true, hive_types_autocast = false"
        self.rows = dicts(f"FROM read_parquet('{out}/partials/**/*.parquet', {hive}) ORDER BY ALL")
        self.answers = {name: dicts(f"FROM read_parquet('{out}/answers/{name}/*.parquet')") for name in ANSWERS}
        # Names as `analyze batch` has them, below the folder of the traces.
        for row in [*self.rows, *(row for table in self.answers.values() for row in table)]:
            for column in {"trace", "of"} & set(row):
                row[column] = below(row[column])
        assert not (out / "analysed").exists()

    def sums(self, *columns):
        """The values summed by these columns."""
        sums = collections.Counter()
        for row in self.rows:
            sums[tuple(row[column] for column in columns)] += row["value"]
        return sums


def dicts(query):
    table = duckdb.sql(query)
    return [dict(zip(table.columns, row)) for row in table.fetchall()]


def below(path):
    return path.replace("viewfs://fleet/", "/traces/").rpartition("/traces/")[2]


def batch(analyze, traces, out):
    """What `analyze batch` says: its tables as lists of dicts. Some traces failed, and it says so by its exit status."""
    ran = subprocess.run([analyze, "batch", traces, "-o", out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert ran.returncode in (0, 2), ran.stderr.decode()
    tables = {}
    for name in ("summary", "histograms", "failed", "duplicates", "outliers"):
        with open(out / f"{name}.csv", newline="") as file:
            tables[name] = list(csv.DictReader(file))
    return tables


def with_batch(results, analyze, traces, folder):
    theirs = batch(analyze, traces, folder / "batch")
    ours = results.sums("trace", "pid", "vm", "metric")
    started = {row["trace"]: row["first_ns"] for row in results.rows}
    seen = 0
    for row in theirs["summary"]:
        trace, pid, vm = below(row["trace"]), int(row["pid"] or 0), int(row["vm"] or 0)
        assert started[trace] == int(row["started_unix_ns"]), trace
        assert ours[trace, 0, 0, f"traces_{row['judgement']}"] == 1, trace
        for columns, key in ((OF_TRACE, (trace, 0, 0)), (OF_VM, (trace, pid, vm))):
            for column in columns.split():
                assert ours[(*key, column)] == int(row[column] or 0), (key, column, ours[(*key, column)], row[column])
                seen += int(row[column] or 0) != 0
    assert seen > 10 * len(theirs["summary"]), f"only {seen} figures"

    classes = results.sums("metric", "bucket")
    for row in theirs["histograms"]:
        for what in ("count", "bytes"):
            key = f"{row['population']}_{what}", int(row["size_from"])
            assert classes[key] == int(row[what]), (key, classes[key], row[what])
    populations = {row["population"] for row in theirs["histograms"]}
    for (metric, bucket), value in classes.items():  # nor are there any more of them
        population, _, what = metric.rpartition("_")
        if population in populations and what in ("count", "bytes"):
            rows = theirs["histograms"]
            assert any(row["population"] == population and int(row["size_from"]) == bucket for row in rows), metric

    failed = {row["trace"] for row in results.answers["failed"] if row["outcome"] == "failed"}
    assert failed == {below(row["path"]) for row in theirs["failed"]}, failed
    # Of two that are the same to the byte, each keeps one, by names that differ: which does not matter.
    pairs = {frozenset(map(below, row.values())) for row in theirs["duplicates"]}
    assert {frozenset(row.values()) for row in results.answers["copies"]} == pairs, pairs
    # Among the recorded ones batch has finer groups of peers: it compares no two programs and no two builds of LuaJIT.
    for service, build in itertools.product(made.SERVICES, made.BUILDS):
        group = traces / service / build
        with_outliers(results, service, build, batch(analyze, group, folder / f"batch-{service}-{build}")["outliers"])


def with_outliers(results, service, build, theirs):
    """The same ones of a service and build, as far off from the same median."""
    names = "pid", "vm", "value", "median", "deviation", "peers"

    def key(row):
        return below(row["trace"]), row["measure"], *(int(row[name]) for name in names)

    rows = results.answers["workers_that_differ"]
    ours = {key(row): row["deviations"] for row in rows if (row["service"], row["build"]) == (service, build)}
    assert ours.keys() == {key(row) for row in theirs}, (service, build, ours.keys() ^ {key(row) for row in theirs})
    for row in theirs:
        assert abs(ours[key(row)] - float(row["deviations"])) < 0.01, (row, ours[key(row)])


def with_what_is_known(results, damaged):
    whole = results.sums("metric")
    good = whole["traces_verified",] + whole["traces_consistent",]
    assert (good, whole["traces_failed",] + whole["traces_incomplete",]) == (500, 5), whole
    calls = results.sums("trace", "metric")
    whole_ones = [trace for trace, metric in calls if metric == "traces_verified" and not trace.startswith("recorded/")]
    assert len(whole_ones) == len(made.SERVICES) * len(made.BUILDS) * made.EACH + 1
    assert all(calls[trace, "calls_replayed"] == made.CALLS for trace in whole_ones)

    answers = results.answers
    assert sorted(row["trace"] for row in answers["failed"]) == damaged, answers["failed"]
    assert all(row["reason"] for row in answers["failed"])
    grown = {(row["service"], row["build"]) for row in answers["builds_that_regress"] if row["measure"] == "used_bytes"}
    assert grown == {made.GROWN}, grown
    service, build, name = made.DIFFERENT
    used = [row for row in answers["workers_that_differ"] if row["measure"] == "used_bytes"]
    assert used[0]["trace"] == f"{service}/{build}/{name}.ljt", used[0]

    totals = {(row["service"], row["build"], row["day"]): row for row in answers["totals"]}
    for service in made.SERVICES:
        for day, build in enumerate(made.BUILDS, 1):
            row = totals[service, build, f"2026-01-0{day}"]
            assert row["trace_calls"] >= made.EACH * made.CALLS and row["vms"] >= made.EACH, row
    for row in answers["quantiles"]:
        assert row["p50"] <= row["p90"] <= row["p99"] <= row["most"] and row["n"] > 0, row
    assert sum(row["n"] for row in answers["quantiles"] if row["metric"] == "vms_by_used_bytes") == whole["heaps",]
