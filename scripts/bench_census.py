"""What scripts/bench measures of the census: how long it takes beside the copy that it is of. Python's standard library alone.

The heap is bench_loop's, with many live tables; the program waits meanwhile. The copy is what the target stands still for;
the census is taken when it runs again.
"""

import json
import subprocess

from bench_programs import FOLDER, LIMIT, Workload

TABLES = 500_000


def measure(rounds):
    """Rounds of copy and census of the same heap, after one that is not kept."""
    with Workload("bench_loop", 0.01, TABLES) as program:
        command = [str(FOLDER / "census"), str(program.pid), str(rounds + 1)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=LIMIT).stdout.decode()
    return [json.loads(line) for line in said.splitlines()][1:]


def rows(raw, section, row):
    """Adds the figures to the table."""
    mib, blocks = raw[-1]["bytes"] / 2**20, raw[-1]["blocks"]
    section(f"The census of a heap of {mib:.0f} MiB, {blocks / 1e6:.2f} million blocks, beside its copy")
    row("the copy, for which the process stands still", "ms", [one["copy_ns"] / 1e6 for one in raw])
    row("the walk to the keyframe, when it runs again", "ms", [one["walk_ns"] / 1e6 for one in raw])
    row("the census, when it runs again", "ms", [one["census_ns"] / 1e6 for one in raw])
    row("the census / the copy", "x", [one["census_ns"] / one["copy_ns"] for one in raw], ("<=", 1.5))
