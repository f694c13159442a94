// Package configs knows the configs of everything that is no topic: the broker, all brokers, consumer groups, subscriptions to client
// metrics, loggers. What was changed at run time is durable in the catalog and takes effect at once (KIP-226).
//
//	s, err := configs.Open(configs.Options{Catalog: catalog, Registry: registry, Static: map[string]string{"log.dirs": dir}})
//	err = s.Alter(ctx, configs.Resource{Type: configs.Broker}, []topics.Change{{Name: "log.retention.ms", Value: "3600000"}}, false)
//	values, err := s.Describe(configs.Resource{Type: configs.Broker, Name: "1"})
//
// A broker's config has the first value that is there:
//
//	dynamic, of broker 1  >  dynamic, of all brokers ("")  >  static, from the settings of the process  >  default
//
// A setting of the process that is the default counts as not set. A topic that does not set a config takes it from the broker config that
// is its synonym (topics.Definition): a change of log.retention.ms is a change of every such topic's retention.ms. broker.go is the table
// of the broker's configs. Read-only ones are set when the process starts; those that can be changed are honoured, or say that they have no
// effect.
//
// Names, types, defaults and what is read-only are Kafka's, but for
//
//	log.flush.interval.messages       1: a record is on disk before it is acknowledged
//	log.cleanup.policy                read-only: it would turn the records of topics that are there into deltas, or deltas into records
//	log.retention.check.interval.ms   a minute, not five
//	log.dir, listeners                keyframe-data, and loopback: nothing is open to others by itself
//	listener.security.protocol.map    PLAINTEXT alone: there is no TLS and no authentication
//	listeners and their map,          read-only: they are set when the process starts
//	  max.connections(.per.ip)
//	max.connections                   10,000, not 2^31-1: each has its memory
//	producer.id.expiration.ms         read-only: it is fixed
//	keyframe.*                        Kafka has none of them
//
// Kafka has some 260 more: of controllers and their quorum, replication, TLS and SASL, share and streams groups, tiered storage, and of
// threads and buffers that are not here.
package configs
