"""A fleet that never was: traces with known answers, in folders as a bucket may have them.

    traces/SERVICE/BUILD/NAME.ljt
"""

import pathlib
import shutil
import subprocess

# Two days of two releases. A blank and a percent sign are what addresses escape.
SERVICES = "api", "edge 100%", "shop"
BUILDS = "r1", "r2"
EACH = 80  # traces of each service and build
CALLS, LIVE = 6_000, 2_000  # of each trace
GROWN = "edge 100%", "r2"  # whose heaps are twice as large as those of r1
DIFFERENT = "shop", "r1", "00099"  # whose one heap is eight times as large
DAY = 86_400  # the generator's seeds are seconds since the year began
PATTERN = r"/(?P<service>[^/]+)/(?P<build>[^/]+)/[^/]+\.ljt$"


def generate(program, out, *options):
    words = [program, *options, "--calls", CALLS, "--keyframe-every", CALLS // 3, "-o", out]
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def make(program, fixtures, folder):
    """500 good traces: generated ones, and those of testdata."""
    for at, service in enumerate(SERVICES):
        for day, build in enumerate(BUILDS):
            live = 2 * LIVE if (service, build) == GROWN else LIVE
            seed = day * DAY + at * 1000
            generate(program, folder / service / build, "--traces", EACH, "--seed", seed, "--live", live)
    service, build, name = DIFFERENT
    generate(program, folder / service / build / f"{name}.ljt", "--seed", int(name) + 2000, "--live", 8 * LIVE)
    real = sorted(pathlib.Path(fixtures).glob("*.ljt"))
    recorded = folder / "recorded/r0"
    recorded.mkdir(parents=True)
    for trace in real:
        shutil.copy(trace, recorded)
    missing = 500 - len(real) - 1 - EACH * len(SERVICES) * len(BUILDS)
    generate(program, recorded, "--traces", missing, "--seed", 3000, "--live", LIVE)


def damage(program, folder):
    """Five more that are damaged, and a copy of a good one; returns the names of the five."""
    broken = folder / "api/r1/broken.ljt"
    generate(program, broken, "--seed", 4000, "--live", LIVE)
    whole = broken.read_bytes()
    middle = len(whole) // 2
    bad = {
        "api/r1/broken.ljt": whole[:middle] + bytes(64) + whole[middle + 64 :],
        "api/r2/empty.ljt": b"",
        "edge 100%/r1/text.ljt": b"not found\n",
        "shop/r2/short.ljt": whole[:40],
        "shop/r2/huge.ljt": whole[:16] + b"\xff" * (len(whole) - 16),
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    shutil.copy(folder / "shop/r1/02001.ljt", folder / "shop/r1/copy.ljt")
    return sorted(bad)
