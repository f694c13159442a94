"""Drives confluent_kafka, librdkafka for Python."""

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from records import EARLIEST, LATEST, OutOfRange, Record, Unsupported
from suite import ADDR, main


class Producer:
    def __init__(self, name, codec="none", idempotent=False, transactional_id=None):
        config = {"bootstrap.servers": ADDR, "client.id": name, "compression.type": codec, "linger.ms": 1, "acks": "all"}
        if idempotent:
            config.update({"enable.idempotence": True, "batch.size": 4096})
        if transactional_id:
            config["transactional.id"] = transactional_id
        self.p = confluent_kafka.Producer(config)
        if transactional_id:
            self.p.init_transactions(20)

    def send(self, records):
        offsets, errors = [None] * len(records), []

        def delivered(i):
            def callback(error, message):
                errors.extend([error] if error else [])
                offsets[i] = message.offset()
            return callback

        for i, r in enumerate(records):
            self.p.produce(r.topic, r.value, r.key, r.partition, on_delivery=delivered(i), timestamp=r.timestamp, headers=r.headers)
            self.p.poll(0)
        self.p.flush(30)
        if errors:
            raise confluent_kafka.KafkaException(errors[0])
        return offsets

    def begin(self):
        self.p.begin_transaction()

    def send_offsets(self, consumer, topic, offset):
        self.p.send_offsets_to_transaction([TopicPartition(topic, 0, offset)], consumer.c.consumer_group_metadata(), 20)

    def end(self, commit):
        self.p.commit_transaction(20) if commit else self.p.abort_transaction(20)

    def close(self):
        self.p.flush(5)


class Consumer:
    def __init__(self, name, assign=None, group=None, topic=None, instance=None, auto_commit=False, read_committed=False, reset="earliest"):
        config = {"bootstrap.servers": ADDR, "client.id": name, "group.id": group or name, "auto.offset.reset": {"none": "error"}.get(reset, reset), "fetch.wait.max.ms": 100,
                  "enable.auto.commit": auto_commit, "auto.commit.interval.ms": 500, "session.timeout.ms": 8000, "heartbeat.interval.ms": 300,
                  "isolation.level": "read_committed" if read_committed else "read_uncommitted"}
        if instance:
            config["group.instance.id"] = instance
        self.c = confluent_kafka.Consumer(config)
        if assign:
            special = {EARLIEST: OFFSET_BEGINNING, LATEST: OFFSET_END}
            self.c.assign([TopicPartition(t, p, special.get(o, o)) for t, p, o in assign])
        else:
            self.c.subscribe([topic])

    def poll(self):
        got, wait = [], 0.2
        while len(got) < 500:
            m, wait = self.c.poll(wait), 0
            if m is None:
                break
            if m.error() and m.error().code() == confluent_kafka.KafkaError._AUTO_OFFSET_RESET:
                raise OutOfRange(m.error())
            if m.error():
                raise confluent_kafka.KafkaException(m.error())
            got.append(Record(m.topic(), m.partition(), m.offset(), m.key(), m.value(), m.timestamp()[1], m.headers() or []))
        return got

    def commit(self):
        self.c.commit(asynchronous=False)

    def committed(self, topic, partition):
        return self.c.committed([TopicPartition(topic, partition)], 10)[0].offset

    def offset_for(self, topic, partition, timestamp):
        if timestamp < 0:
            low, high = self.c.get_watermark_offsets(TopicPartition(topic, partition), 10)
            return low if timestamp == EARLIEST else high
        return self.c.offsets_for_times([TopicPartition(topic, partition, timestamp)], 10)[0].offset

    def close(self):
        self.c.close()


class Admin:
    def __init__(self, name):
        self.a = AdminClient({"bootstrap.servers": ADDR, "client.id": name})

    def each(self, futures):
        return [f.result() for f in futures.values()]

    def create_topic(self, name, partitions, configs):
        self.each(self.a.create_topics([NewTopic(name, partitions, 1, config=configs)]))

    def delete_topic(self, name):
        self.each(self.a.delete_topics([name]))

    def topics(self):
        return {t.topic: len(t.partitions) for t in self.a.list_topics(timeout=10).topics.values()}

    def config(self, topic, name):
        return self.each(self.a.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))[0][name].value

    def set_config(self, topic, name, value):  # the one that replaces all of them
        self.each(self.a.alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={name: value})]))

    def set_partitions(self, name, total):
        self.each(self.a.create_partitions([NewPartitions(name, total)]))

    def groups(self):
        return [g.id for g in self.a.list_groups(timeout=10)]

    def group_state(self, group):
        return self.a.list_groups(group, timeout=10)[0].state

    def delete_group(self, _):
        raise Unsupported

    def close(self):
        pass


class Client:
    version = f"{confluent_kafka.version()[0]} (librdkafka {confluent_kafka.libversion()[0]})"
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    null_headers = read_committed = True
    shows_markers = False
    producer, consumer, admin = Producer, Consumer, Admin


main(Client())
