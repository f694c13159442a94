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
// and a topic that does not set a config takes it from the broker config that is its synonym (topics.Definition): a change of
// log.retention.ms is a change of every such topic's retention.ms. broker.go is the table of the broker's configs. Read-only ones are set
// when the process starts; those that can be changed are honoured, or say that they have no effect.
package configs
