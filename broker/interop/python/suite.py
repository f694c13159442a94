"""Checks a Python client against a broker.

What a capability means, and what a driver is given and prints, stands in ../capabilities.txt. The client is behind an object with
producer(), consumer() and admin(); see confluent.py.
"""

import os
import sys
import threading
import time
import traceback
from collections import Counter

from readings import folds, log_start, stale
from records import EARLIEST, LATEST, Unsupported, check, expect, in_order, nothing, now, numbered, record, starts, take, until

ADDR, PREFIX = os.environ["INTEROP_ADDR"], os.environ["INTEROP_PREFIX"]


class Run:
    """One capability of one client. What it opened is closed at its end."""

    def __init__(self, client, name):
        self.client, self.prefix, self.made, self.notes, self.open = client, f"{PREFIX}-{name}", 0, [], []

    def name(self, what):
        return f"{self.prefix}-{what}"

    def keep(self, one):
        self.open.append(one)
        return one

    def id(self):
        self.made += 1
        return f"{self.prefix}-{self.made}"

    def producer(self, **config):
        return self.keep(self.client.producer(self.id(), **config))

    def consumer(self, **config):
        return self.keep(self.client.consumer(self.id(), **config))

    def admin(self):
        if not hasattr(self, "administration"):
            self.administration = self.keep(self.client.admin(self.id()))
        return self.administration

    def close(self, one):
        self.open.remove(one)
        one.close()

    def topic(self, name, partitions, **configs):
        self.admin().create_topic(name, partitions, {k.replace("_", "."): v for k, v in configs.items()})
        until("the topic is listed", lambda: self.admin().topics().get(name) == partitions)

    def send(self, records, **config):
        p = self.producer(**config)
        offsets = p.send(records)
        self.close(p)
        return offsets


def produce(r):
    topic = r.name("t")
    r.topic(topic, 3)
    offsets = r.send(numbered(topic, 300, 3, now()))
    check(offsets == [i // 3 for i in range(300)], f"acknowledged with the offsets {offsets[:6]}, ...")


def consume(r):
    topic, start = r.name("t"), now() - 3_600_000
    r.topic(topic, 2)
    sent = numbered(topic, 400, 2, start)
    r.send(sent)
    c = r.consumer(assign=starts(topic, 2, EARLIEST))
    got = take(c, 400)
    in_order(sent, got)
    for g in got:
        check(g.timestamp == start + 2 * g.offset + g.partition, f"offset {g.offset} has timestamp {g.timestamp}")
    r.close(c)
    c = r.consumer(assign=[(topic, 0, 150)])
    check(take(c, 50)[0].offset == 150, "the first is not 150")
    r.close(c)
    c = r.consumer(assign=[(topic, 1, LATEST)])
    nothing(c, 1.5)
    r.send([record(topic, b"late", 1)])
    expect(c, "late")
    for timestamp, offset in ((EARLIEST, 0), (LATEST, 200), (start, 0), (start + 200, 100), (start + 199, 100)):
        at = c.offset_for(topic, 0, timestamp)
        check(at == offset, f"offset for {timestamp} is {at}, not {offset}")


def codecs(r):
    topic, sent = r.name("t"), []
    r.topic(topic, 1)
    for codec in r.client.codecs:
        records = [s._replace(value=(b"%s %s " % (codec.encode(), s.value)) * 100) for s in numbered(topic, 50, 1, now())]
        r.send(records, codec=codec)
        sent += records
    in_order(sent, take(r.consumer(assign=starts(topic, 1, EARLIEST)), len(sent)))
    r.notes.append(" ".join(r.client.codecs))


def headers(r):
    topic = r.name("t")
    r.topic(topic, 1)
    sent = [
        record(topic, b"v", headers=[("a", b"1"), ("b", b"\x00\xff"), ("a", b"2")]),
        record(topic, b"v", headers=[("empty", b"")] + ([("null", None)] if r.client.null_headers else [])),
        record(topic, b"no key", key=None),
        record(topic, None, key=b"no value"),
        record(topic, b"", key=b""),
    ]
    if not r.client.null_headers:
        r.notes.append("the client cannot send a header without a value")
    r.send(sent)
    for s, g in zip(sent, take(r.consumer(assign=starts(topic, 1, EARLIEST)), len(sent))):
        check((s.key, s.value, s.headers) == (g.key, g.value, g.headers), f"{g.key} {g.value} {g.headers} came, {s.key} {s.value} {s.headers} was sent")


def groups(r):
    topic, group = r.name("t"), r.name("group")
    r.topic(topic, 4)
    for n in (400, 80):
        records = numbered(topic, n, 4, now())
        r.send(records)
        c = r.consumer(group=group, topic=topic)
        in_order(records, take(c, n))
        c.commit()
        offsets = [c.committed(topic, p) for p in range(4)]
        r.close(c)
    check(offsets == [120] * 4, f"committed offsets are {offsets}")


class Board:
    """Keeps who consumed what: members of one group over four partitions, each polled by a thread of its own."""

    def __init__(self, r):
        self.r, self.topic, self.group = r, r.name("t"), r.name("group")
        self.rounds, self.seen, self.times, self.members, self.failed = 0, {}, Counter(), {}, None
        r.topic(self.topic, 4)
        self.producer = r.producer()

    def join(self, name, instance=None):
        c, stop = self.r.consumer(group=self.group, topic=self.topic, instance=instance, auto_commit=True), threading.Event()

        def poll():
            try:
                while not stop.is_set():
                    for g in c.poll():
                        self.times[g.value] += 1
                        self.seen.setdefault(g.value, name)
            except Exception as e:
                self.failed = e

        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        self.members[name] = (c, stop, thread)

    def leave(self, name):
        c, stop, thread = self.members.pop(name)
        stop.set()
        thread.join(15)
        self.r.close(c)

    def round(self):
        self.rounds += 1
        self.producer.send([record(self.topic, b"%d-%d" % (self.rounds, p), p) for p in range(4)])
        return self.rounds

    def who(self, n, seconds):
        end = time.time() + seconds
        while True:
            who = [self.seen.get(b"%d-%d" % (n, p), "") for p in range(4)]
            if self.failed:
                raise self.failed
            if "" not in who or time.time() > end:
                return who
            time.sleep(0.02)

    def converge(self, what, right):
        last = []

        def ready():
            last[:] = self.who(self.round(), 5)
            return right(last)

        try:
            until(what, ready, 40)
        except AssertionError as e:
            raise AssertionError(f"{e}; the last round went to {last}") from None
        return list(last)

    def complete(self):
        for n in range(1, self.rounds + 1):
            check("" not in self.who(n, 10), f"round {n} of {self.rounds} was not all consumed")
        twice = sum(1 for n in self.times.values() if n > 1)
        if twice:
            self.r.notes.append(f"{twice} of {4 * self.rounds} records came again after a move")
        for name in list(self.members):
            self.leave(name)


def rebalance(r):
    b = Board(r)
    b.join("a")
    b.converge("a has all", lambda who: who == ["a"] * 4)
    b.join("b")
    b.converge("both have some", lambda who: {"a", "b"} <= set(who))
    b.leave("b")
    b.converge("a has all again", lambda who: who == ["a"] * 4)
    b.complete()


def static(r):
    b = Board(r)
    b.join("a", "instance-a")
    b.join("b", "instance-b")
    rounds = [None]  # one round may fall into a move

    def settled(who):
        rounds.append(list(who))
        return rounds[-1] == rounds[-2] and set(who) == {"a", "b"}

    before = b.converge("both have some, twice the same", settled)
    b.leave("a")
    away = b.round()
    for p, name in enumerate(b.who(away, 2)):
        check(before[p] != "a" or not name, f"partition {p} went to {name} while its static member was away")
    b.join("a", "instance-a")
    after = b.who(away, 20)
    check(after == before, f"partitions were with {before}, and are with {after} after a came back")
    b.complete()


def groups848(r):
    raise Unsupported("no KIP-848")


def idempotence(r):
    topic = r.name("t")
    r.topic(topic, 3)
    sent = numbered(topic, 3000, 3, now())
    r.send(sent, idempotent=True)
    in_order(sent, take(r.consumer(assign=starts(topic, 3, EARLIEST)), len(sent)))


def transactions(r):
    topic, source, group = r.name("t"), r.name("input"), r.name("group")
    p = r.producer(transactional_id=r.name("id"))
    r.topic(topic, 1)
    r.topic(source, 1)
    r.send(numbered(source, 10, 1, now()))
    reader = r.consumer(group=group, topic=source)
    take(reader, 10)
    for value, commit, offset in (("committed", True, 4), ("aborted", False, 9), ("committed too", True, 7), ("aborted too", False, 0)):
        p.begin()
        p.send([record(topic, value.encode()), record(topic, value.encode())])
        if offset:
            p.send_offsets(reader, source, offset)
        p.end(commit)
    committed = r.consumer(assign=starts(topic, 1, EARLIEST), read_committed=True)
    expect(committed, "committed", "committed", "committed too", "committed too")
    p.begin()
    p.send([record(topic, b"open")])
    r.send([record(topic, b"behind it")])
    nothing(committed, 1.5)
    p.end(True)
    expect(committed, "open", "behind it")
    expect(r.consumer(assign=starts(topic, 1, EARLIEST)), "committed", "committed", "aborted", "aborted", "committed too", "committed too",
           "aborted too", "aborted too", "open", "behind it")
    offset = reader.committed(source, 0)
    check(offset == 7, f"the group's offset is {offset}, the last committed transaction says 7")
    p.begin()
    p.send([record(topic, b"of the old one")])
    second = r.producer(transactional_id=r.name("id"))
    second.begin()
    second.send([record(topic, b"of the new one")])
    second.end(True)
    try:
        p.end(True)
    except Exception:
        pass
    else:
        raise AssertionError("the fenced producer committed")
    expect(r.consumer(assign=starts(topic, 1, EARLIEST), read_committed=True), "committed", "committed", "committed too", "committed too",
           "open", "behind it", "of the new one")


def admin(r):
    a, topic, group, without = r.admin(), r.name("t"), r.name("group"), []

    def attempt(what, f):
        try:
            f()
        except Unsupported:
            without.append(what)
        except Exception as e:
            raise AssertionError(f"{what}: {e}") from e

    def alter():
        a.set_config(topic, "retention.ms", "7200000")
        until("retention.ms is changed", lambda: a.config(topic, "retention.ms") == "7200000")

    def partitions():
        a.set_partitions(topic, 3)
        until("three partitions are told", lambda: a.topics().get(topic) == 3)

    def use():
        r.send(numbered(topic, 60, 3, now()))
        c = r.consumer(group=group, topic=topic)
        take(c, 60)
        c.commit()
        r.close(c)

    def delete_group():
        a.delete_group(group)
        check(group not in a.groups(), "the group is still listed")

    def delete_topic():
        a.delete_topic(topic)
        until("the topic is gone", lambda: topic not in a.topics())

    attempt("create topic", lambda: r.topic(topic, 2, retention_ms="3600000"))
    attempt("describe configs", lambda: until("retention.ms is told", lambda: a.config(topic, "retention.ms") == "3600000"))
    attempt("alter configs", alter)
    attempt("create partitions", partitions)
    attempt("use", use)
    attempt("list groups", lambda: check(group in a.groups(), "the group is not listed"))
    attempt("describe group", lambda: until("the group is Empty", lambda: a.group_state(group) == "Empty"))
    attempt("delete group", delete_group)
    attempt("delete topic", delete_topic)
    if without:
        r.notes.append(f"without {', '.join(without)}: the client has no such call")


def bootstrap(r):
    topic, fewest = os.environ["INTEROP_BOOTSTRAP"], 2501
    check(topic, "the runner made no compacted topic")
    for start, committed in ((0, False), (0, True), (1, True), (1500, True), (1500, False)):
        if committed and not r.client.read_committed:
            continue
        try:
            fewest = min(fewest, read_compacted(r, topic, start, committed))
        except AssertionError as e:
            raise AssertionError(f"from offset {start}, read_committed {committed}: {e}") from None
    r.notes.append(f"{fewest} of 2501 records were left")
    if r.client.shows_markers:
        r.notes.append("the client takes a transaction's marker for a record")
    if not r.client.read_committed:
        r.notes.append("read_uncommitted only: the client has no other")


def read_compacted(r, topic, start, committed):
    c, state, following, n = r.consumer(assign=[(topic, 0, start)], read_committed=committed), {}, start, 0
    while following < 2501:
        for g in take(c, 1):
            check(g.offset >= following, f"offset {g.offset} came after {following - 1}")
            if r.client.shows_markers and not g.headers and len(g.key) == 4 and g.key[0] == 0:
                following = g.offset + 1  # a transaction's marker, which the client takes for a record
                continue
            check(dict(g.headers)["time"] == b"%d" % g.timestamp, f"offset {g.offset} has timestamp {g.timestamp}, and {g.headers}")
            following, n, state[g.key] = g.offset + 1, n + 1, g
    for i in range(600):
        g = state.get(b"key-%04d" % i)
        check(g, f"nothing of key {i} came")
        last = b"4" if i < 20 else b"deleted" if i % 10 == 3 else b"3"
        check(dict(g.headers)["round"] == last, f"key {i} ends with {g.headers}, not {last} (offset {g.offset})")
        value = None if last == b"deleted" else b"value-%d-%s-" % (i, last) + b"x" * 2000
        check(g.value == value, f"key {i} has another value")
    r.close(c)
    return n


CAPABILITIES = (produce, consume, codecs, headers, groups, rebalance, static, groups848, idempotence, transactions, admin, bootstrap,
                log_start, folds, stale)


def main(client):
    only = os.environ.get("INTEROP_ONLY")
    print(f"interop\tversion\tinfo\t0\t{client.version}", flush=True)
    for f in CAPABILITIES:
        name = f.__name__.replace("_", "-")
        if only and name not in only.split(","):
            continue
        r, began, outcome = Run(client, name), time.time(), []

        def attempt():
            try:
                f(r)
                outcome[:] = "pass", "; ".join(r.notes)
            except Unsupported as e:
                outcome[:] = "skip", str(e)
            except Exception as e:
                traceback.print_exc()
                outcome[:] = "fail", f"{type(e).__name__}: {e}"

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(100)
        result, reason = outcome or ("fail", "hangs: no end after 100 s")
        print(f"interop\t{name}\t{result}\t{int((time.time() - began) * 1000)}\t{' '.join(reason.split())}", flush=True)
        for one in reversed(r.open):
            closing = threading.Thread(target=one.close, daemon=True)
            closing.start()
            closing.join(5)
    sys.stdout.flush()
    os._exit(0)  # whatever a client left running
