"""A Spark cluster on loopback, out of the pip package: a master, workers, and every process ended by its id.

For the tests and the bench; a fleet's own cluster is there already. Python's standard library alone.
"""

import os
import pathlib
import re
import signal
import subprocess
import time

LIMIT = 60  # seconds until the master, or all workers, must be there
END = 20  # seconds that a process has to end by itself


def children(pid):
    """The processes that any thread of `pid` has started and that still run."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text().split()]
        except OSError:  # the thread has ended
            pass
    return found


def descendants(pid):
    """All that `pid` has started, and what those have started."""
    found = children(pid)
    for child in found:
        found += children(child)
    return found


def gone(pid):
    """Whether a process runs no more: none is there, or one whose parent has not asked for its end yet."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def wait(what, done, limit=LIMIT):
    """Waits until `done()` gives something, and returns that.

    Raises TimeoutError with `what` after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        found = done()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {limit} s")
        time.sleep(0.05)


class Cluster:
    """A standalone master and workers of one processor each; `home` is where pyspark is, `folder` takes logs and spill.

    In a `with`: at its end no process of it is left, those of executors included."""

    def __init__(self, home, folder, workers=2, memory="1g"):
        self.home, self.folder, self.count, self.memory = pathlib.Path(home), pathlib.Path(folder), workers, memory
        self.master, self.workers, self.address = None, [], None
        self.environment = {
            **os.environ,
            "SPARK_HOME": str(self.home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "SPARK_DAEMON_MEMORY": "256m",
        }

    def start(self, name, *arguments):
        log = open(self.folder / f"{name}.log", "wb")
        command = [str(self.home / "bin/spark-class"), *arguments]
        with log:  # a group of its own: Ctrl-C at a terminal ends it by way of this program, in order
            return subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )

    def said(self, name, pattern):
        return re.search(pattern, (self.folder / f"{name}.log").read_text(errors="replace"))

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            # Port 0 is any that is free; the master says which.
            self.master = self.start(
                "master", "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"
            )
            starting = r"Starting Spark master at (spark://\S+)"
            self.address = wait("a Spark master", lambda: self.said("master", starting))[1]
            for number in range(self.count):
                self.workers.append(
                    self.start(
                        f"worker{number}",
                        "org.apache.spark.deploy.worker.Worker",
                        *("--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", self.memory),
                        *("--work-dir", str(self.folder / f"work{number}"), self.address),
                    )
                )
            for number in range(self.count):
                registered = "Successfully registered with master"
                wait("a Spark worker", lambda: self.said(f"worker{number}", registered))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        processes = [one for one in [*self.workers, self.master] if one]
        pids = [pid for one in processes for pid in descendants(one.pid)]
        for one in processes:
            if one.poll() is None:
                one.terminate()
        for one in processes:
            try:
                one.wait(END)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        # Executors end when their worker does; those that do not are ended here.
        for pid in pids:
            try:
                wait(f"the end of {pid}", lambda: gone(pid), limit=END / 4)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)

    def kill_worker(self, number):
        """As a machine that loses its power: the worker, its executors and what they run, at once."""
        worker = self.workers[number]
        for pid in [worker.pid, *descendants(worker.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        worker.wait()
