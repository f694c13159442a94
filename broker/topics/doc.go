// Package topics is the broker's view of its topics: the durable catalog, the open logs of their partitions and their typed
// configuration, in one place that readers look things up in without waiting.
//
//	r, err := topics.Open(topics.Options{Catalog: catalog, Log: store})
//	t, err := r.Create(ctx, topics.Spec{Name: "files", Partitions: 4, Configs: map[string]string{"cleanup.policy": "compact"}})
//	t.Config().KeyFramed // true: cleanup.policy=compact is what makes a topic's records deltas
//
// definitions.go is the table of topic configs: name, type, default, documentation, validator. A value is accepted only when
// the broker honours it; what is accepted for the sake of Kafka's tools without any effect says so in its documentation. What is refused is what Kafka refuses, but for
//
//	remote.storage.enable=true    there is no tiered storage
//	digits that are not ASCII     Java reads those of every script; here nobody else would
//	min.cleanable.dirty.ratio     NaN is no ratio; 0.5d and 0.5f are numbers in Java's source code
//	keyframe.*                    Kafka has none of them
//
// retention.go deletes old records of topics with cleanup.policy=delete. Key-framed topics are trimmed by their keyframer, which also lets
// their rows expire, and those that are left of a topic that is not key-framed any more.
package topics
