#!/usr/bin/env python3
"""Prints what is in a .ljt trace. A second reader, written from shared/FORMAT.md alone, standard library only.

usage: read_ljt.py [--events] FILE

Exit status: 0 complete; 1 no trace; 2 truncated or damaged; 3 compressed, and neither the zstandard module nor a zstd
program is there.
"""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

KINDS = {1: "header", 2: "process", 3: "vm", 4: "calls", 5: "keyframe", 6: "gap", 7: "trailer"}
MAX_EVENTS = 65536


class Damaged(Exception):
    pass


def unzstd(data, length):
    """What a zstd frame holds; of more than `length` bytes one more than that."""
    try:
        import zstandard
    except ImportError:
        zstandard = None
    if zstandard:
        try:
            return zstandard.ZstdDecompressor().stream_reader(data).read(length + 1)
        except zstandard.ZstdError as error:
            raise Damaged(f"packed bytes do not decompress: {error}") from error
    if not shutil.which("zstd"):
        print("compressed: neither the zstandard module nor a zstd program is there", file=sys.stderr)
        sys.exit(3)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(["zstd", "-dcq"], stdin=file, **pipes) as zstd:
            raw = zstd.stdout.read(length + 1)
            if len(raw) > length:
                zstd.kill()
    if zstd.returncode and len(raw) <= length:
        raise Damaged("packed bytes do not decompress")
    return raw


class Frame:
    def __init__(self, data, offset):
        head = data[offset : offset + 40]
        if len(head) < 40:
            raise Damaged("the file ends in a head")
        (self.kind, self.flags, self.length, self.vm, self.count, self.start, self.end, self.crc, crc) = struct.unpack(
            "<HHIIIQQII", head
        )
        if zlib.crc32(head[:36]) != crc:
            raise Damaged("a head's checksum is wrong")
        if self.kind not in KINDS and self.kind < 0x8000:
            raise Damaged(f"kind {self.kind} is unknown")
        if self.flags:
            raise Damaged(f"flags {self.flags:#x} are unknown")
        self.offset, self.stored = offset, data[offset + 40 : offset + 40 + self.length]
        if len(self.stored) < self.length:
            raise Damaged("the file ends in a payload")

    def index_entry(self):
        return {key: getattr(self, key) for key in ("offset", "kind", "vm", "count", "start", "end")}

    def payload(self):
        if zlib.crc32(self.stored) != self.crc:
            raise Damaged("a payload's checksum is wrong")
        return self.stored

    def unpacked(self):
        """The payload of a kind that is one stretch of packed bytes."""
        cursor = Cursor(self.payload())
        raw = cursor.packed()
        cursor.finish()
        return raw

    def json(self):
        return json.loads(self.unpacked())


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise Damaged("the payload ends in a value")
        self.at += n
        return self.data[self.at - n : self.at]

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value
        raise Damaged("a number of more than 64 bits")

    def zigzag(self):
        return unzigzag(self.varint())

    def packed(self):
        length, stored = self.varint(), self.varint()
        if stored == 0:
            return self.take(length)
        data = self.take(stored)
        if length > max(4 << 20, 128 * stored):
            raise Damaged(f"{stored} packed bytes claim to hold {length}")
        raw = unzstd(data, length)
        if len(raw) != length:
            raise Damaged(f"packed bytes hold other than {length} bytes")
        return raw

    def list(self, item):
        count = self.varint()
        if count > len(self.data) - self.at:
            raise Damaged(f"a list of {count}")
        return [item() for _ in range(count)]

    def finish(self):
        if self.at != len(self.data):
            raise Damaged("bytes too many")


MAX = (1 << 64) - 1


TICK = 64_000


def wrap(value):
    return value & MAX


def unzigzag(value):
    return value >> 1 ^ -(value & 1)


def chunk_size(n):
    return 32 if n < 23 else wrap(n + 8 + 7) & ~7


def whole(addr, size):
    if addr + size > MAX:
        raise Damaged(f"{addr:#x} ends beyond memory")
    return addr, size


def events(frame):
    """The calls (vm, time, ptr, osize, nsize) and mapping calls (vm, time, op, addr, len, new_len, result)."""
    payload = Cursor(frame.payload())
    map_count = payload.varint()
    columns = [Cursor(payload.packed()) for _ in range(10)]
    payload.finish()
    kinds, ticks, nsizes, osizes, ptr_lengths, *ptr_bytes, maps = columns
    if len(kinds.data) != frame.count or frame.count > MAX_EVENTS or map_count > MAX_EVENTS:
        raise Damaged("calls miscounted")
    start, out, mapped, after = frame.start // TICK, [], [], 0
    for _ in range(map_count):
        after += maps.varint()
        op = maps.take(1)[0]
        if after > frame.count or op > 2:
            raise Damaged(f"mapping call {op} after call {after}")
        time = min((start + maps.varint()) * TICK, MAX)
        mapped.append((after, (frame.vm, time, op, *(maps.varint() for _ in range(4)))))
    mapped.reverse()

    def pointer(osize):
        length = ptr_lengths.take(1)[0]
        if length > 8:
            raise Damaged(f"an address of {length} bytes")
        off = b"".join(ptr_bytes[min(at, 3)].take(1) for at in range(length))
        return wrap(last - chunk_size(osize) + 8 * unzigzag(int.from_bytes(off, "little")))

    tick, left, last = start, 0, 0
    for done in range(frame.count + 1):
        while mapped and mapped[-1][0] == done:
            out.append(mapped.pop()[1])
        if done == frame.count:
            break
        if left == 0:
            tick += ticks.varint()
            left = ticks.varint()
            if not 0 < left <= frame.count - done:
                raise Damaged(f"{left} calls at once after {done} of {frame.count}")
        left -= 1
        kind = kinds.take(1)[0]
        if kind > 3:
            raise Damaged(f"kind of call {kind}")
        nsize = 0 if kind == 0 else nsizes.varint()
        osize = 0 if kind == 1 else osizes.varint()
        ptr = 0
        if kind in (0, 2):
            ptr = last = pointer(osize)
        elif kind == 3:
            ptr = osizes.varint()
        out.append((frame.vm, min(tick * TICK, MAX), ptr, osize, nsize))
    for column in columns:
        column.finish()
    return out


def keyframe(payload):
    cursor = Cursor(payload)
    next, state = 0, {}
    names = "stopped_ns stops copied_bytes mstate gc_total gc_threshold trim_check release_checks dv top"
    for name in names.split():
        state[name] = cursor.varint()

    def chunk():
        nonlocal next
        word = cursor.varint()
        addr = next if word & 2 else cursor.varint()
        addr, size = whole(addr, (word >> 2) * 8)
        next = addr + size
        return addr, size, bool(word & 1)

    last = 0

    def binned():
        nonlocal last
        last = wrap(last + 8 * cursor.zigzag())
        return last

    state["segments"] = cursor.list(lambda: (*whole(cursor.varint(), cursor.varint()), cursor.varint()))
    state["chunks"] = cursor.list(chunk)
    state["binned"] = cursor.list(binned)
    state["direct"] = cursor.list(lambda: whole(cursor.varint(), cursor.varint()))
    cursor.finish()
    return state


def frames(data):
    """The frames, how the file ends, and the trailer if it ends well."""
    found, offset = [], 16
    while True:
        try:
            frame = Frame(data, offset)
            if frame.kind != 7:
                found.append(frame)
                offset += 40 + frame.length
                continue
            trailer = frame.json()
            footer = data[offset + 40 + frame.length :]
            if footer != struct.pack("<Q", offset) + b"LJSCEND\n":
                raise Damaged("no footer behind the trailer")
            if trailer.get("index", []) != [frame.index_entry() for frame in found]:
                raise Damaged("the index differs from the frames")
            return found, "complete", trailer
        except (Damaged, ValueError) as error:
            return found, f"truncated at byte {offset}: {error}", None


def say(frame, want_events, crc):
    """Prints a frame; returns its calls and mapping calls, and the checksum so far."""
    calls = maps = 0
    name = KINDS.get(frame.kind, f"unknown ({frame.kind:#x})")
    print(f"{frame.offset:6} {name:9} vm {frame.vm}  count {frame.count}  {frame.start}..{frame.end} ns")
    if frame.kind == 4:
        for event in events(frame):
            crc = zlib.crc32(struct.pack(f"<{len(event)}Q", *event), crc)
            vm, time, *rest = event
            if len(rest) == 3:
                calls += 1
                line = f"call {vm} {time} {rest[0]:#x} {rest[1]} {rest[2]}"
            else:
                maps += 1
                op = ("mmap", "munmap", "mremap")[rest[0]]
                line = f"map {vm} {time} {op} {rest[1]:#x} {rest[2]} {rest[3]} {rest[4]:#x}"
            if want_events:
                print(line)
    elif frame.kind == 5:
        heap = keyframe(frame.unpacked())
        if len(heap["chunks"]) != frame.count:
            raise Damaged("chunks miscounted")
        used = sum(size for _, size, used in heap["chunks"] if used)
        print(f"heap {frame.vm} used {used} binned {len(heap['binned'])} direct {len(heap['direct'])}")
    elif frame.kind == 6 and want_events:
        print(f"gap {frame.vm} {frame.start} {frame.json().get('reason', '')}")
    elif frame.kind in (1, 2, 3) and not want_events:
        print(json.dumps(frame.json(), sort_keys=True))
    return calls, maps, crc


def main(arguments):
    want_events = "--events" in arguments
    files = [argument for argument in arguments if argument != "--events"]
    if len(files) != 1:
        print(__doc__, file=sys.stderr)
        return 1
    with open(files[0], "rb") as file:
        data = file.read()
    head = data[:16]
    if len(head) < 16 or head[:8] != b"LJSCOPE\n" or zlib.crc32(head[:12]) != struct.unpack("<I", head[12:])[0]:
        print("not a trace", file=sys.stderr)
        return 1
    version = struct.unpack("<H", head[8:10])[0]
    if version != 1:
        print(f"version {version}; this reads version 1", file=sys.stderr)
        return 1
    found, end, trailer = frames(data)
    if not found or found[0].kind != 1:
        print("no header", file=sys.stderr)
        return 1
    calls = maps = crc = bad = 0
    for frame in found:
        try:
            more_calls, more_maps, crc = say(frame, want_events, crc)
            calls, maps = calls + more_calls, maps + more_maps
        except (Damaged, ValueError) as error:
            print(f"damaged: {error}")
            bad += 1
    if trailer is not None and not bad and (trailer.get("calls"), trailer.get("maps")) != (calls, maps):
        print("the trailer counts otherwise")
        bad += 1
    print(end)
    print(f"{calls} calls, {maps} mapping calls, crc32 {crc:08x}")
    return 2 if bad or trailer is None else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
