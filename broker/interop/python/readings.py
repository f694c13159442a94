"""Readings of topics that others wrote; ../capabilities.txt has the form of their files."""

import os

from records import EARLIEST, OutOfRange, Unsupported, check, take


def log_start(r):
    readings(r, "INTEROP_LOG_START")


def folds(r):
    readings(r, "INTEROP_FOLDS")


def stale(r):
    readings(r, "INTEROP_STALE")


def readings(r, variable):
    path = os.environ[variable]
    if not path:
        raise Unsupported("not of this broker")
    for line in lines(path):
        kind, topic, offset, path = line.split("\t")
        start = EARLIEST if offset == "earliest" else int(offset)
        try:
            if kind == "earliest":
                earliest(r, topic, start)
            elif kind == "read":
                read(r, topic, start, lines(path))
            elif kind == "out-of-range":
                out_of_range(r, topic, start, lines(path))
            else:
                raise AssertionError("no kind of reading that is known")
        except Exception as e:
            raise AssertionError(f"{kind} {topic} {offset}: {type(e).__name__}: {e}") from e


def lines(path):
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()


def earliest(r, topic, offset):
    c = r.consumer(assign=[(topic, 0, 0)])
    at = c.offset_for(topic, 0, EARLIEST)
    r.close(c)
    check(at == offset, f"the earliest offset is {at}")


def out_of_range(r, topic, offset, want):
    try:
        read(r, topic, offset, want, "none")
    except OutOfRange:
        read(r, topic, offset, want, "earliest")
    else:
        raise AssertionError("is served, and is out of range")


def read(r, topic, offset, want, reset="earliest"):
    c = r.consumer(assign=[(topic, 0, offset)], reset=reset)
    try:
        while want:
            for g in take(c, 1):
                want = without(want, shown(g))
    finally:
        r.close(c)


def without(want, line):
    """Drops what was wanted up to a line that came."""
    for i, w in enumerate(want):
        if w[1:] == line:
            return want[i + 1:]
        check(w[0] != "=", f"{line[:120]!r} came, not {w[1:121]!r}")
    raise AssertionError(f"{line[:120]!r} came behind the end")


def shown(g):
    headers = ",".join(f"{name}={value.decode()}" for name, value in g.headers)
    size, value = (-1, "") if g.value is None else (len(g.value), g.value.decode())
    return f"{g.offset}\t{g.timestamp}\t{size}\t{headers}\t{value}\t{g.key.decode()}"
