"""What scripts/bench starts: programs to record, recorders, and the probes of others. Python's standard library alone."""

import ctypes
import json
import os
import pathlib
import platform
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
# All that a run writes, and the programs it measures; removed at its end.
FOLDER = pathlib.Path(tempfile.gettempdir()) / f"ljscope-bench-{os.getpid()}"
LUAJIT = os.environ.get("BENCH_LUAJIT", "luajit")
GROUP = f"ljbench_{os.getpid()}"  # of the probes that `perf probe` makes
LIMIT = 120  # seconds any one step may take


# Processes. Each is ended by its own id when its `with` is left, however that happens.


class Process:
    def __init__(self, command, **options):
        self.child = subprocess.Popen([str(word) for word in command], **options)
        self.pid, self.usage, self.buffer = self.child.pid, None, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.usage is None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def line(self, pipe):
        """The next line of `pipe`, which nobody else reads; raises at its end or after LIMIT."""
        end = time.monotonic() + LIMIT
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([pipe], [], [], max(0, end - time.monotonic()))
            more = os.read(pipe.fileno(), 65536) if ready else b""
            if not more:
                raise RuntimeError(f"{self.child.args} {'ended' if ready else 'hangs'}: {self.buffer.decode()}")
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def wait(self, stop=None):
        """Sends the signal `stop`, waits for the end, and keeps what the process used; returns its exit code."""
        if stop is not None:
            self.child.send_signal(stop)
        end = time.monotonic() + LIMIT
        while True:
            pid, status, self.usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.child.returncode = os.waitstatus_to_exitcode(status)
                return self.child.returncode
            if time.monotonic() > end:
                self.usage = None
                raise RuntimeError(f"{self.child.args} does not end")
            time.sleep(0.002)

    @property
    def cpu_s(self):
        return self.usage.ru_utime + self.usage.ru_stime


class Workload(Process):
    """A workload of testdata/workloads/, led through the protocol of lib/ready.lua."""

    def __init__(self, name, *arguments):
        script = ROOT / f"testdata/workloads/{name}.lua"
        super().__init__([LUAJIT, script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.expect("ready")

    def expect(self, word):
        line = self.line(self.child.stdout)
        if not line.startswith(word):
            raise RuntimeError(f"{self.child.args} should say {word}, not {line}")
        return dict(re.findall(r"(\w+)=([\d.]+)", line))

    def run(self):
        """Lets it do its work; its heap lives on. Returns its figures."""
        self.child.stdin.write(b"go\n")
        self.child.stdin.flush()
        return self.expect("done")


class Recorder(Process):
    """`record`, up to the moment its probes are open; in mode full, unless the options say otherwise."""

    def __init__(self, pid, trace, *options):
        mode = [] if any(str(option).startswith("--mode") for option in options) else ["--mode=full", "--max-pause=1s"]
        command = [FOLDER / "record", "--force", *mode, *options, "-o", trace, "-p", pid]
        super().__init__(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.trace, said = trace, ""
        while not said.endswith("trace: " + str(trace)):
            said += "\n" + self.line(self.child.stderr)
        name = re.search(r"^door: .* of (.*?)(?: \(stripped\))?$", said, re.M)[1]
        self.file = mapped_file(pid, os.path.basename(name))
        self.entry = int(re.search(r"^door: \S+ at (0x[0-9a-f]+) ", said, re.M)[1], 16)
        self.site = int(re.search(r"^probe: (0x[0-9a-f]+) ", said, re.M)[1], 16)
        self.emulated = "emulated" in said

    def stop(self):
        """Ends the recording as Ctrl-C does and returns what its trailer and the kernel say of it."""
        code = self.wait(signal.SIGINT)
        said = (self.buffer + self.child.stderr.read()).decode()
        if code not in (0, 2):  # 2 is incomplete: perhaps a snapshot was missed
            raise RuntimeError(f"record: exit status {code}: {said}")
        info = [FOLDER / "analyze", "info", "--format", "json", self.trace]
        document = json.loads(subprocess.run(info, stdout=subprocess.PIPE).stdout)
        trailer = document["end"]["trailer"]
        if not trailer["calls"] or trailer["lost"] and document["header"]["mode"] != "sample":
            raise RuntimeError(f"record: {trailer['calls']} calls, {trailer['lost']} lost")
        return {
            "calls": trailer["calls"],
            "missed_keyframes": said.count("missed keyframe"),
            "bytes": os.path.getsize(self.trace),
            "recorder_cpu_s": trailer["cost"]["recorder_cpu_ns"] / 1e9,
            "recorder_rusage_s": self.cpu_s,
            "recorder_rss_kib": self.usage.ru_maxrss,
            "elapsed_s": trailer["cost"]["elapsed_ns"] / 1e9,
            "paused_s": trailer["cost"]["paused_ns"] / 1e9,
            "longest_pause_s": trailer["cost"]["longest_pause_ns"] / 1e9,
            "worst_minute": trailer["cost"]["worst_minute_ppm"] / 1e6,
            "hit_ns": trailer["cost"]["hit_ns"],
            "hits": trailer["cost"]["hits"],
            "lost": trailer["lost"],
            "windows": [
                tuple((document["header"]["clock_start_ns"] + at["window"][end]) / 1e9 for end in ("start", "end"))
                for at in document["windows"]
            ],
        }


def mapped_file(pid, name):
    """The path of the file called `name` that a process has mapped."""
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    return next(path for path in re.findall(r" (/.*)$", maps, re.M) if os.path.basename(path) == name)


class PerfRecord(Process):
    """`perf record` on both probes of Probes, up to the moment it counts."""

    def __init__(self, pid, data):
        # The biggest buffer that is to be had: lost samples would be cheap ones. With a delay it says when it begins.
        options = ["-m", "16M", "-D", "100"]
        command = ["perf", "record", "-e", f"{GROUP}:*", "-p", pid, "-o", data, *options]
        super().__init__(command, stderr=subprocess.PIPE)
        self.data = data
        while "Events enabled" not in self.line(self.child.stderr):
            pass

    def stop(self):
        """Ends it as Ctrl-C does. A call is two samples: its entry and its return."""
        self.wait(signal.SIGINT)  # the exit status is the signal's
        said = (self.buffer + self.child.stderr.read()).decode()
        samples = re.search(r"\((\d+) samples\)", said)
        if not samples or "lost" in said.lower():
            raise RuntimeError(f"perf record: {said}")
        calls = int(samples[1]) / 2
        return {"calls": calls, "bytes": os.path.getsize(self.data), "recorder_rusage_s": self.cpu_s}


class Nginx(Process):
    """Debian's nginx under testdata/nginx/, as testdata/src/nginx.rs starts it."""

    MODULES = ["/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/usr/lib64/nginx/modules"]

    def __init__(self, prefix):
        prefix.mkdir()
        prefix.chmod(0o755)  # the worker is nobody in particular
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        templates = ROOT / "testdata/nginx"
        config = (templates / "nginx.conf.in").read_text()
        modules = next(path for path in self.MODULES if os.path.exists(f"{path}/ngx_http_lua_module.so"))
        for word, value in {"MODULES": modules, "PREFIX": prefix, "TEMPLATES": templates, "PORT": port, "WORKERS": 1}.items():
            config = config.replace(f"@{word}@", str(value))
        (prefix / "nginx.conf").write_text(config)
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(["nginx", "-p", prefix, "-c", prefix / "nginx.conf"], stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                urllib.request.urlopen(self.url + "/same", timeout=10).read()
                break
            except OSError:
                time.sleep(0.01)
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        self.worker = int(children[0])

    def __exit__(self, *_):
        self.wait(signal.SIGTERM)  # killed, the master would leave its worker behind

    def load(self, seconds, path="/same"):
        """Requests as fast as they are answered, four at once; returns them a second."""
        command = ["wrk", "-t", "1", "-c", "4", "-d", f"{seconds:.0f}", self.url + path]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=LIMIT).stdout.decode()
        if "Non-2xx" in said:
            raise RuntimeError(said)
        return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])

    # What wrk calls at its end: latencies in microseconds.
    DONE = """done = function(summary, latency)
  for _, p in ipairs({ 50, 99, 99.9, 100 }) do print("percentile", p, latency:percentile(p)) end
end"""

    def load_with_latencies(self, seconds, path="/same"):
        """Requests a second, and how long they took: seconds by percentile."""
        script = FOLDER / "done.lua"
        script.write_text(self.DONE)
        command = ["wrk", "-t", "1", "-c", "4", "-d", f"{seconds:.0f}", "-s", script, self.url + path]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=LIMIT).stdout.decode()
        if "Non-2xx" in said:
            raise RuntimeError(said)
        percentiles = {p: float(us) / 1e6 for p, us in re.findall(r"percentile\s+([\d.]+)\s+([\d.]+)", said)}
        return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), percentiles


# Probes that are not ljscope's.


class Probes:
    """What users of `perf probe` make: the function's entry with its arguments, and its return."""

    def __init__(self, file, entry):
        self.file, self.entry = file, entry

    def __enter__(self):
        arguments = {"x86_64": "ptr=%si:x64 osize=%dx:u64 nsize=%cx:u64", "aarch64": "ptr=%x1 osize=%x2 nsize=%x3"}
        entry = f"{GROUP}:entry={self.entry:#x} {arguments[platform.machine()]}"
        perf_probe("-x", self.file, "--add", entry, "--add", f"{GROUP}:back={self.entry:#x}%return ret=$retval:x64")

    def __exit__(self, *_):
        delete_probes(GROUP)


def perf_probe(*arguments):
    subprocess.run(["perf", "probe", "--quiet", *arguments], check=True, timeout=LIMIT)


def delete_probes(group):
    """Tries for a while: the kernel holds a probe some time longer than the perf that used it lived."""
    for _ in range(50):
        done = subprocess.run(["perf", "probe", "--quiet", "--del", f"{group}:*"], stderr=subprocess.PIPE)
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"perf probe: {done.stderr.decode()}: delete it with: perf probe --del '{group}:*'")


def delete_stale_probes():
    """Those of a bench that was killed outright, which nobody else would delete."""
    listed = subprocess.run(["perf", "probe", "--list"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    for owner in set(re.findall(rb"ljbench_(\d+):", listed)):
        if not os.path.exists(f"/proc/{int(owner)}"):
            delete_probes(f"ljbench_{int(owner)}")


class Counter:
    """A bare uprobe that counts and does nothing else: the least a probe can cost. See perf_event_open(2)."""

    SYSCALL = {"x86_64": 298, "aarch64": 241}
    ATTRIBUTES = "=IIQQQQQIIQQ"  # struct perf_event_attr up to config2
    SIZE = 112  # PERF_ATTR_SIZE_VER5

    def __init__(self, pid, file, address):
        kind = int(pathlib.Path("/sys/bus/event_source/devices/uprobe/type").read_text())
        self.path = ctypes.create_string_buffer(os.fsencode(file))
        offset = file_offset(file, address)
        words = kind, self.SIZE, 0, 0, 0, 0, 0, 0, 0, ctypes.addressof(self.path), offset
        attributes = ctypes.create_string_buffer(struct.pack(self.ATTRIBUTES, *words), self.SIZE)
        syscall = ctypes.CDLL(None, use_errno=True).syscall
        numbers = [ctypes.c_long(n) for n in (pid, -1, -1, 8)]  # any processor, no group, PERF_FLAG_FD_CLOEXEC
        self.fd = syscall(ctypes.c_long(self.SYSCALL[platform.machine()]), attributes, *numbers)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), f"perf_event_open: {os.strerror(ctypes.get_errno())}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def count(self):
        return struct.unpack("=Q", os.read(self.fd, 8))[0]


def file_offset(file, address):
    """Where in an ELF file the loader finds `address`."""
    elf = pathlib.Path(file).read_bytes()
    (table,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for header in range(table, table + size * count, size):
        kind, _, offset, virtual, _, in_file = struct.unpack_from("<IIQQQQ", elf, header)
        if kind == 1 and virtual <= address < virtual + in_file:  # PT_LOAD
            return address - virtual + offset
    raise RuntimeError(f"{file} has no address {address:#x}")
