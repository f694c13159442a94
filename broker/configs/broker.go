package configs

import (
	"math"

	"github.com/keyframelog/keyframe/broker/topics"
)

// fixed is a read-only config of the broker.
func fixed(name string, kind topics.Type, value, doc string) definition {
	return definition{name: name, kind: kind, value: &value, doc: doc}
}

// unset is a read-only config that has no value unless the process was given one.
func unset(name string, kind topics.Type, doc string) definition {
	return definition{name: name, kind: kind, doc: doc}
}

// threads is a number that Kafka's tools tune and that nothing here depends on.
func threads(name, value, doc string) definition {
	return definition{name: name, kind: topics.TypeInt, value: &value, doc: doc + noEffect, update: clusterWide, check: integer(1, math.MaxInt32)}
}

// brokerTable is every config of the broker, the defaults of the topics among them.
func brokerTable() table {
	list := []definition{
		unset("advertised.listeners", topics.TypeList, "The addresses that clients are told to connect to."),
		fixed("auto.create.topics.enable", topics.TypeBoolean, "true", "Whether a topic that a client asks for by name is created."),
		fixed("broker.id", topics.TypeInt, "-1", "The number of this broker."),
		unset("broker.rack", topics.TypeString, "The rack of this broker; there is one broker."),
		fixed("connections.max.idle.ms", topics.TypeLong, "600000", "A connection without requests is closed after this time."),
		fixed("default.replication.factor", topics.TypeInt, "1", "There is one replica of everything."),
		fixed("delete.topic.enable", topics.TypeBoolean, "true", "Whether topics can be deleted."),
		fixed("fetch.max.bytes", topics.TypeInt, "57671680", "The largest answer to a fetch, in bytes; one batch always passes."),
		fixed("log.cleaner.enable", topics.TypeBoolean, "true", "Key-framed topics are folded and trimmed."),
		fixed("log.dir", topics.TypeList, "keyframe-data", "The directory of log and tables where there is no log.dirs; there always is."),
		unset("log.dirs", topics.TypeList, "The directory of log and tables."),
		fixed("log.retention.check.interval.ms", topics.TypeLong, "60000", "How often old records are looked for."),
		fixed("log.retention.hours", topics.TypeInt, "168", "The age in hours above which records are deleted, where log.retention.ms is not set."),
		unset("log.retention.minutes", topics.TypeInt, "The age in minutes above which records are deleted, where log.retention.ms is not set."),
		fixed("listeners", topics.TypeList, "PLAINTEXT://127.0.0.1:9092", "The addresses that the broker listens on."),
		fixed("listener.security.protocol.map", topics.TypeString, "PLAINTEXT:PLAINTEXT", "There is no TLS and no authentication yet."),
		fixed("max.connections", topics.TypeInt, "10000", "The most connections at a time; above it new ones are closed."),
		fixed("max.connections.per.ip", topics.TypeInt, "2147483647", "The most connections from one address; above it new ones are closed."),
		fixed("max.incremental.fetch.session.cache.slots", topics.TypeInt, "1000", "The most fetch sessions that are remembered."),
		unset("node.id", topics.TypeInt, "The number of this node."),
		fixed("num.partitions", topics.TypeInt, "1", "The partitions of a topic that is created without a number."),
		unset("process.roles", topics.TypeList, "One process is the whole cluster."),
		fixed("producer.id.expiration.ms", topics.TypeInt, "86400000", "An idempotent producer is forgotten after this time without a batch."),
		fixed("quota.window.num", topics.TypeInt, "11", "The windows that a client quota is taken over."),
		fixed("quota.window.size.seconds", topics.TypeInt, "1", "How long each of them is."),
		fixed("socket.request.max.bytes", topics.TypeInt, "104857600", "The largest request, in bytes."),
		threads("background.threads", "10", "Threads of background work."),
		threads("log.cleaner.threads", "1", "Threads of the log cleaner."),
		threads("num.io.threads", "8", "Threads that work on requests."),
		threads("num.network.threads", "3", "Threads that read and write connections."),
		threads("num.recovery.threads.per.data.dir", "2", "Threads that recover logs."),
		threads("num.replica.fetchers", "1", "Threads that fetch from other brokers."),
	}
	return newTable(append(append(list, groupDefaults()...), topicDefaults()...)...)
}

// groupDefaults are the broker's configs of groups and transactions.
func groupDefaults() []definition {
	return []definition{
		fixed("group.consumer.assignors", topics.TypeList, "uniform,range", "The assignors of the broker; the first one is the default."),
		fixed("group.consumer.heartbeat.interval.ms", topics.TypeInt, "5000", "How often a member of a consumer group sends a heartbeat."),
		fixed("group.consumer.max.heartbeat.interval.ms", topics.TypeInt, "15000", "The highest consumer.heartbeat.interval.ms of a group."),
		fixed("group.consumer.max.session.timeout.ms", topics.TypeInt, "60000", "The highest consumer.session.timeout.ms of a group."),
		fixed("group.consumer.max.size", topics.TypeInt, "2147483647", "The most members of a consumer group."),
		fixed("group.consumer.migration.policy", topics.TypeString, "bidirectional", "Groups move between the classic and the consumer protocol as their members do."),
		fixed("group.consumer.min.heartbeat.interval.ms", topics.TypeInt, "5000", "The lowest consumer.heartbeat.interval.ms of a group."),
		fixed("group.consumer.min.session.timeout.ms", topics.TypeInt, "45000", "The lowest consumer.session.timeout.ms of a group."),
		fixed("group.consumer.session.timeout.ms", topics.TypeInt, "45000", "A member of a consumer group that is not heard of for this time is out."),
		fixed("group.initial.rebalance.delay.ms", topics.TypeInt, "3000", "How long the first rebalance of an empty group waits for more members."),
		fixed("group.max.session.timeout.ms", topics.TypeInt, "1800000", "The highest session.timeout.ms of a member of a classic group."),
		fixed("group.max.size", topics.TypeInt, "2147483647", "The most members of a classic group."),
		fixed("group.min.session.timeout.ms", topics.TypeInt, "6000", "The lowest session.timeout.ms of a member of a classic group."),
		fixed("offset.metadata.max.bytes", topics.TypeInt, "4096", "The largest metadata of a committed offset."),
		fixed("offsets.retention.check.interval.ms", topics.TypeLong, "600000", "How often expired offsets are looked for."),
		fixed("offsets.retention.minutes", topics.TypeInt, "10080", "Offsets of a group are kept for this time once it is empty."),
		fixed("transaction.max.timeout.ms", topics.TypeInt, "900000", "The longest transaction that a producer may ask for."),
		fixed("transactional.id.expiration.ms", topics.TypeInt, "604800000", "A transactional id is forgotten after this time without a transaction."),
	}
}

// topicDefaults are the synonyms of topic configs. Four have no value of their own in Kafka: the topic's default holds.
func topicDefaults() (list []definition) {
	for _, d := range topics.Definitions() {
		if d.Synonym == "" {
			continue
		}
		def := definition{name: d.Synonym, kind: d.Type, value: &d.Default, doc: d.Doc, update: clusterWide,
			check: func(value string) error { return d.CheckValue(value) }}
		switch d.Synonym {
		case "log.retention.ms", "log.flush.interval.ms", "log.roll.ms", "log.roll.jitter.ms":
			def.value = nil
		case "log.cleanup.policy":
			// As a default for topics that are there it would turn their records into deltas, or deltas into records.
			def.update = readOnly
		}
		list = append(list, def)
	}
	return list
}
