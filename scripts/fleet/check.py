"""Tests fleet.py on a real Spark of one master and two workers: 500 traces and 5 damaged ones, twice, once with a
worker killed in the middle; against `analyze batch`, against what is known of the traces, and by three engines.

    target/fleet/bin/python scripts/fleet/check.py ANALYZE GENERATE FIXTURES FOLDER

FOLDER is a new or empty one. testdata/tests/fleet.rs calls it. Raises AssertionError where a figure is another one.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pyspark

import ask
import compare
import limits
import made
from cluster import Cluster, wait

HERE = pathlib.Path(__file__).parent
LIMIT = 240  # seconds for a run of the application


class Run:
    """The application on a cluster, whose logs say how it goes."""

    def __init__(self, cluster, name, analyze, folder):
        self.log = folder / f"{name}.log"
        self.analysed = folder / "out/analysed"
        # Some traces by their paths, a glob among them, and some through another file system.
        inputs = [folder / "traces/recorded", folder / "traces/edge 100%", folder / "traces/sh*", "viewfs://fleet/api"]
        link = f"spark.hadoop.fs.viewfs.mounttable.fleet.link./api=file:{folder}/traces/api"
        # Java compiles no more than a run of a minute gains from.
        quick = "extraJavaOptions=-XX:TieredStopAtLevel=1"
        settings = [link, "spark.ui.enabled=false", "spark.executor.memory=700m", "spark.sql.shuffle.partitions=8"]
        settings += [f"spark.driver.{quick}", f"spark.executor.{quick}"]
        options = [word for setting in settings for word in ("--conf", setting)]
        application = [HERE / "fleet.py", "--analyze", analyze, "--pattern", made.PATTERN, "-o", folder / "out"]
        command = [cluster.home / "bin/spark-submit", "--master", cluster.address, *options, *application, *inputs]
        environment = {**cluster.environment, "PYSPARK_PYTHON": sys.executable}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def said(self):
        return self.log.read_text(errors="replace")

    def midway(self):
        """Waits until some of its tasks are done, and some are not."""
        tasks = "_temporary/0/task_*"
        wait("the first tasks", lambda: self.process.poll() is not None or len([*self.analysed.glob(tasks)]) > 5, LIMIT)
        assert self.process.poll() is None, self.said()[-3000:]
        assert not (self.analysed / "_SUCCESS").exists(), "it was done too soon for the test"

    def end(self):
        try:
            status = self.process.wait(LIMIT)
        finally:
            self.process.kill()  # where it was waited for in vain
            self.process.wait()
        assert status == 0, f"exit status {status}: {self.said()[-3000:]}"


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # and the cluster with it
    analyze, generate, fixtures, folder = (pathlib.Path(word).resolve() for word in sys.argv[1:])
    started = time.monotonic()

    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"

    def say(what):
        print(f"{time.monotonic() - started:5.0f} s  {what}", flush=True)

    traces = folder / "traces"
    made.make(generate, fixtures, traces)
    damaged = made.damage(generate, traces)
    made.generate(generate, folder / "large.ljt", "--live", 300_000)
    limits.check(analyze, folder / "large.ljt", folder)
    say("traces are made; one that hangs, crashes or takes too much fails alone")

    with Cluster(os.path.dirname(pyspark.__file__), folder / "spark") as cluster:
        say("Spark is up")
        Run(cluster, "first", analyze, folder).end()
        first = compare.Results(folder)
        say("analysed once")
        second = Run(cluster, "second", analyze, folder)
        second.midway()
        cluster.kill_worker(0)
        say("a worker is killed")
        second.end()
        assert "Lost executor" in second.said(), "no executor was lost"
        say("analysed again")
    again = compare.Results(folder)
    assert again.rows == first.rows, "the same traces gave other rows"
    assert again.answers == first.answers, "the same rows gave other answers"

    compare.with_batch(first, analyze, traces, folder)
    compare.with_what_is_known(first, damaged)
    say("all figures are those of analyze batch")

    partials = folder / "out/partials"
    engines = {"duckdb": ask.duckdb(partials), "polars": ask.polars(partials), "spark": ask.spark(partials)}
    page = folder / "fleet.html"
    report = [analyze, "report", "--from-partials", partials, "-o", page]
    assert subprocess.run(report, stdin=subprocess.DEVNULL).returncode == 2, "not all is well, and it is to say so"
    assert page.stat().st_size > 10_000
    readme = (HERE / "../../README.md").read_text()
    for name in ask.names():
        question = ask.question(name)
        assert question.strip() in readme, f"{name}: README.md has another question"
        table = engines["duckdb"](question).fetchall()
        assert table, f"{name}: no rows"
        assert engines["polars"](question).rows() == table, f"{name}: polars differs"
        assert [tuple(row) for row in engines["spark"](question).collect()] == table, f"{name}: Spark differs"
    say(f"{len(ask.names())} questions: three engines give the same")


if __name__ == "__main__":
    main()
