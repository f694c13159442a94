// Package conformance tests what a Kafka client may rely on: raw requests over TCP, nothing negotiated and nothing repeated by a
// client library, one file per API.
//
//	make conformance                        a broker of ours, started in a temporary directory
//	make conformance ADDR=127.0.0.1:9092    any broker that is there
//
// Every test passes on Apache Kafka 4.3.1 and on ours: one that Kafka fails is a wrong test. So no test skips, needs a broker's
// insides, or a setting other than auto.create.topics.enable=true and a short group.initial.rebalance.delay.ms. What only ours does is
// tested in broker/kafka. All tests share one broker; each uses names of its own (topicName) for topics, groups and transactional
// ids, and puts back what it changes for the whole cluster.
//
// The program in report runs the tests and says at its end how many passed, and on what.
package conformance
