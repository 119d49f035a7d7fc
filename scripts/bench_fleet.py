"""What scripts/bench measures of many traces on Spark, beside `analyze batch` on the same machine.

Master, executors of one processor each and the driver all run on this machine: so it tells what Spark costs, and not what
it gains, which is to have other machines. It takes some minutes, and what scripts/deps installs into target/fleet/.
"""

import re
import shutil
import subprocess
import sys
import time

from bench_analysis import SMALL_CALLS, batch, generate
from bench_programs import FOLDER, LIMIT, ROOT

sys.path.insert(0, str(ROOT / "scripts/fleet"))
from cluster import Cluster  # noqa: E402

TRACES = 500
PYTHON = ROOT / "target/fleet/bin/python"
APPLICATION = ROOT / "scripts/fleet/fleet.py"


def spark(traces, executors):
    """The application on a cluster that is up: all of it, and the one job that opens traces."""
    (home,) = (ROOT / "target/fleet").glob("lib/python*/site-packages/pyspark")
    folder = FOLDER / "spark"
    with Cluster(home, folder, workers=executors) as cluster:
        submit = [home / "bin/spark-submit", "--master", cluster.address, "--conf", "spark.ui.enabled=false"]
        command = [*submit, APPLICATION, "--analyze", FOLDER / "analyze", traces, "-o", folder / "out"]
        environment = {**cluster.environment, "PYSPARK_PYTHON": str(PYTHON)}
        start = time.monotonic()
        ran = subprocess.run(
            [str(word) for word in command], env=environment, capture_output=True, text=True, timeout=5 * LIMIT, check=True
        )
        wall = time.monotonic() - start
    shutil.rmtree(folder)
    # The first job writes the rows of all traces.
    job = re.search(r"Job 0 finished: parquet at .*, took ([\d.]+) ms", ran.stderr)
    return {"wall_s": wall, "analysis_s": float(job[1]) / 1000}


def measure(rounds, say):
    traces = FOLDER / "fleet"
    generate(traces, "--traces", TRACES, "--calls", SMALL_CALLS, "--live", 4_000, "--keyframe-every", SMALL_CALLS // 2)
    batch(traces, 2)  # not kept, and warms up
    seen = []
    for turn in range(rounds):
        say(f"{TRACES} traces on Spark, round {turn + 1} of {rounds}")
        threads = {f"batch_{threads}": batch(traces, threads) for threads in (1, 2)}
        seen.append({**threads, **{f"spark_{executors}": spark(traces, executors) for executors in (1, 2)}})
    shutil.rmtree(traces)
    return seen


def rows(raw, section, row):
    section(f"{TRACES} traces of {SMALL_CALLS} calls each on Spark, all of it on this machine")

    def all_of(name, what="wall_s"):
        return [one[name][what] for one in raw]

    row("`analyze batch` on one thread", "s", all_of("batch_1"))
    row("... on two", "s", all_of("batch_2"))
    row("scripts/fleet, one executor", "s", all_of("spark_1"))
    row("... two executors", "s", all_of("spark_2"))
    row("of that the analysis of the traces, one executor", "s", all_of("spark_1", "analysis_s"))
    row("... two executors", "s", all_of("spark_2", "analysis_s"))
    more = [(one["spark_1"]["analysis_s"] - one["batch_1"]["wall_s"]) * 1000 / TRACES for one in raw]
    row("overhead a trace: the analysis on one executor above `batch` on one thread", "ms", more)
    rest = (one["spark_1"]["wall_s"] - one["spark_1"]["analysis_s"] for one in raw)
    row("the rest, for this many traces: start, merging, answers", "s", rest)
