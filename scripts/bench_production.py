"""What a saturated nginx loses to a recording: requests a second and latencies, without and with, one after the other.

The machine's own noise is larger than what is looked for. So each recording stands between two runs without, is compared
with their mean, and the difference of those two is shown beside it. And what a recording in windows does is also seen
from its own run: the throughput around each window, against that right before and after.
"""

import bisect
import statistics
import threading
import time

from bench_programs import FOLDER, Nginx, PerfRecord, Probes, Recorder

SECONDS = 60
SECONDS_SHORT = 15  # for what slows it down many times over
SAMPLE = "--mode=sample", "--max-overhead"


def run(nginx, seconds):
    rate, latency = nginx.load_with_latencies(seconds)
    return {"requests_per_s": rate, "latency_s": latency}


def recorded(nginx, seconds, *options):
    with Recorder(nginx.worker, FOLDER / "production.ljt", *options) as recorder, Throughput() as throughput:
        seen = run(nginx, seconds)
        seen |= recorder.stop()
    return seen | {"around_windows": throughput.lost(seen.pop("windows"))}


class Throughput:
    """Bytes through the loopback device, every few milliseconds, while its `with` lasts."""

    STEP = 0.005
    BEFORE, BEHIND, BESIDE = 0.06, 0.16, 0.4  # seconds: probes open and close around a window

    def __enter__(self):
        self.times, self.bytes, self.ended = [], [], threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def watch(self):
        while not self.ended.wait(self.STEP):
            with open("/proc/net/dev") as devices:
                words = next(line for line in devices if line.lstrip().startswith("lo:")).split(":")[1].split()
            self.times.append(time.monotonic())
            self.bytes.append(int(words[0]))

    def at(self, moment):
        """Bytes up to then."""
        i = min(max(bisect.bisect(self.times, moment), 1), len(self.times) - 1)
        share = (moment - self.times[i - 1]) / (self.times[i] - self.times[i - 1])
        return self.bytes[i - 1] + share * (self.bytes[i] - self.bytes[i - 1])

    def lost(self, windows):
        """The share that is missing in and around windows; those at the very ends count as the others do."""
        lost = counted = 0
        for start, end in windows:
            start, end = start - self.BEFORE, end + self.BEHIND
            if start - self.BESIDE < self.times[0] or end + self.BESIDE > self.times[-1]:
                continue
            beside = self.at(start) - self.at(start - self.BESIDE) + self.at(end + self.BESIDE) - self.at(end)
            lost += beside / (2 * self.BESIDE) * (end - start) - (self.at(end) - self.at(start))
            counted += 1
        return lost * len(windows) / max(counted, 1) / (self.bytes[-1] - self.bytes[0])


def measure(rounds, say):
    raw = {"seconds": SECONDS, "seconds_short": SECONDS_SHORT, "rounds": []}
    with Nginx(FOLDER / "production-prefix") as nginx:
        with Recorder(nginx.worker, FOLDER / "production.ljt") as recorder:
            nginx.load(1)  # warms up, and finds the door for perf
            recorder.stop()
            site = recorder.file, recorder.entry
        before = run(nginx, SECONDS)
        for turn in range(rounds):
            say(f"a saturated nginx, round {turn + 1} of {rounds}: sample at 1 % and 5 %, full, perf record")
            seen = {"bare": [before]}
            for name, options in (("sample 1%", (*SAMPLE, "1%")), ("sample 5%", (*SAMPLE, "5%"))):
                seen[name] = recorded(nginx, SECONDS, *options)
                seen["bare"].append(run(nginx, SECONDS))
            seen["full"] = recorded(nginx, SECONDS_SHORT, "--mode=full", "--max-pause=1s")
            with Probes(*site), PerfRecord(nginx.worker, FOLDER / "production.data") as perf:
                seen["perf"] = run(nginx, SECONDS_SHORT) | perf.stop()
            before = run(nginx, SECONDS)
            raw["rounds"].append(seen)
    return raw


def loss(seen, name):
    """The share of requests lost, against the mean of the runs without next to it."""
    at = {"sample 1%": 0, "sample 5%": 1}.get(name)
    bare = seen["bare"][at : at + 2] if at is not None else seen["bare"][-1:]
    return 1 - seen[name]["requests_per_s"] / statistics.mean(one["requests_per_s"] for one in bare)


def rows(raw, section, row):
    rounds = raw["rounds"]
    section(f"nginx saturated on loopback, {raw['seconds']} s a run, each between two without")
    bare = [one for seen in rounds for one in seen["bare"]]
    row("without: requests/s", "", (one["requests_per_s"] for one in bare))
    pairs = [seen["bare"][at : at + 2] for seen in rounds for at in (0, 1)]
    rates = [[one["requests_per_s"] for one in pair] for pair in pairs]
    row("two runs without, one after the other, differ by", "%", (abs(a - b) / max(a, b) * 100 for a, b in rates))
    names = {"sample 1%": "sample at 1 %", "sample 5%": "sample at 5 %", "full": "full", "perf": "perf record"}
    for name, words in names.items():
        bar = ("<=", 1.5) if name == "sample 1%" else None
        row(f"requests/s lost to {words}", "%", (loss(seen, name) * 100 for seen in rounds), bar)
    for name in ("sample 1%", "sample 5%"):
        around = (seen[name]["around_windows"] * 100 for seen in rounds)
        row(f"{names[name]}: lost in and around windows, by its own throughput beside them", "%", around)
    for name in ("sample 1%", "sample 5%"):
        own = (seen[name]["worst_minute"] * 100 for seen in rounds)
        row(f"{names[name]}: its own account of the worst minute", "%", own, ("<=", float(name[7:-1])))
    for percentile in ("50", "99", "99.9"):
        row(f"without: p{percentile}", "ms", (one["latency_s"][percentile] * 1e3 for one in bare))
        for name, words in names.items():
            row(f"{words}: p{percentile}", "ms", (seen[name]["latency_s"][percentile] * 1e3 for seen in rounds))
    longest = [seen["sample 1%"]["longest_pause_s"] * 1e3 for seen in rounds]
    row("sample at 1 %: the longest pause it reported", "ms", longest)
    base = statistics.median(one["latency_s"]["99.9"] for one in bare) * 1e3
    above = [seen["sample 1%"]["latency_s"]["99.9"] * 1e3 - base for seen in rounds]
    within = [max(0.0, one) / pause for one, pause in zip(above, longest)]
    row("sample at 1 %: p99.9 above that without / the longest pause", "x", within, ("<=", 1))
