"""What the capabilities send, take and compare."""

import time
from collections import namedtuple

EARLIEST, LATEST = -2, -1  # offsets that an assignment may begin at

Record = namedtuple("Record", "topic partition offset key value timestamp headers")


class Unsupported(Exception):
    """What the client cannot do."""


class OutOfRange(Exception):
    """What a consumer without a reset policy is told."""


def check(ok, message):
    if not ok:
        raise AssertionError(message)


def now():
    return int(time.time() * 1000)


def record(topic, value, partition=0, key=b"k", timestamp=None, headers=()):
    return Record(topic, partition, -1, key, value, now() if timestamp is None else timestamp, list(headers))


def numbered(topic, n, partitions, start):
    return [record(topic, b"value-%d" % i, i % partitions, b"key-%d" % i, start + i) for i in range(n)]


def starts(topic, partitions, offset):
    return [(topic, p, offset) for p in range(partitions)]


def until(what, ready, limit=20):
    error, end = None, time.time() + limit
    while time.time() < end:
        try:
            if ready():
                return
            error = None
        except Unsupported:
            raise
        except Exception as e:  # counts only when the time is up
            error = e
        time.sleep(0.05)
    raise AssertionError(f"never: {what}" + (f": {error}" if error else ""))


def take(consumer, n):
    got, end = [], time.time() + 30
    while len(got) < n:
        check(time.time() < end, f"{len(got)} of {n} records came within 30 s")
        got += consumer.poll()
    return got


def nothing(consumer, seconds):
    end = time.time() + seconds
    while time.time() < end:
        got = consumer.poll()
        check(not got, f"{got[:1]} came, where nothing should")


def expect(consumer, *values):
    got = [g.value.decode() for g in take(consumer, len(values))]
    check(got == list(values), f"{got} came, not {list(values)}")


def in_order(sent, got):
    check(len(sent) == len(got), f"{len(got)} came, {len(sent)} were sent")
    for p in {s.partition for s in sent}:
        want, have = ([(r.key, r.value) for r in rs if r.partition == p] for rs in (sent, got))
        check(want == have, f"partition {p}: other records came than were sent")
