"""Drives kafka-python."""

import importlib.util

import kafka
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic

from records import EARLIEST, LATEST, OutOfRange, Record, Unsupported
from suite import ADDR, main


class Producer:
    def __init__(self, name, codec="none", idempotent=False, transactional_id=None):
        if idempotent or transactional_id:
            raise Unsupported("the producer is neither idempotent nor transactional")
        self.p = kafka.KafkaProducer(bootstrap_servers=ADDR, client_id=name, compression_type=None if codec == "none" else codec, acks="all")

    def send(self, records):
        futures = [self.p.send(r.topic, r.value, r.key, r.headers, r.partition, r.timestamp) for r in records]
        self.p.flush(30)
        return [f.get(30).offset for f in futures]

    def close(self):
        self.p.close(5)


class Consumer:
    def __init__(self, name, assign=None, group=None, topic=None, instance=None, auto_commit=False, read_committed=False, reset="earliest"):
        if instance:
            raise Unsupported("no static members")
        if read_committed:
            raise Unsupported("no read_committed")
        more = {"session_timeout_ms": 8000, "heartbeat_interval_ms": 300} if group else {}
        self.c = kafka.KafkaConsumer(bootstrap_servers=ADDR, client_id=name, group_id=group, auto_offset_reset=reset, fetch_max_wait_ms=100,
                                     enable_auto_commit=auto_commit, auto_commit_interval_ms=500, metadata_max_age_ms=2000, **more)
        if assign:
            self.c.assign([kafka.TopicPartition(t, p) for t, p, _ in assign])
            for t, p, o in assign:
                at = kafka.TopicPartition(t, p)
                if o == EARLIEST:
                    self.c.seek_to_beginning(at)
                elif o == LATEST:
                    self.c.seek_to_end(at)
                    self.c.position(at)
                else:
                    self.c.seek(at, o)
        else:
            self.c.subscribe([topic])

    def poll(self):
        try:
            got = self.c.poll(200, 500)
        except kafka.errors.OffsetOutOfRangeError as e:
            raise OutOfRange(e) from e
        return [Record(m.topic, m.partition, m.offset, m.key, m.value, m.timestamp, list(m.headers)) for records in got.values() for m in records]

    def commit(self):
        self.c.commit()

    def committed(self, topic, partition):
        return self.c.committed(kafka.TopicPartition(topic, partition))

    def offset_for(self, topic, partition, timestamp):
        at = kafka.TopicPartition(topic, partition)
        if timestamp == EARLIEST:
            return self.c.beginning_offsets([at])[at]
        if timestamp == LATEST:
            return self.c.end_offsets([at])[at]
        return self.c.offsets_for_times({at: timestamp})[at].offset

    def close(self):
        self.c.close()


class Admin:
    def __init__(self, name):
        self.a = KafkaAdminClient(bootstrap_servers=ADDR, client_id=name)

    def create_topic(self, name, partitions, configs):
        self.a.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])

    def delete_topic(self, name):
        self.a.delete_topics([name])

    def topics(self):
        return {t["topic"]: len(t["partitions"]) for t in self.a.describe_topics()}

    def config(self, topic, name):
        answers = self.a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return next(c[1] for c in answers[0].resources[0][4] if c[0] == name)

    def set_config(self, topic, name, value):  # the one that replaces all of them
        self.a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])

    def set_partitions(self, name, total):
        self.a.create_partitions({name: NewPartitions(total)})

    def groups(self):
        return [name for name, _ in self.a.list_consumer_groups()]

    def group_state(self, group):
        return self.a.describe_consumer_groups([group])[0].state

    def delete_group(self, group):
        for _, error in self.a.delete_consumer_groups([group]):
            if error is not kafka.errors.NoError:
                raise error

    def close(self):
        self.a.close()


class Client:
    version = kafka.__version__
    codecs = ("none", "gzip") + tuple(c for c, module in (("snappy", "snappy"), ("lz4", "lz4"), ("zstd", "zstandard")) if importlib.util.find_spec(module))
    null_headers = read_committed = False
    shows_markers = True
    producer, consumer, admin = Producer, Consumer, Admin


main(Client())
