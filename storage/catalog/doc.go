// Package catalog is what the broker knows beside the records: topics and their partitions, configs, the leader epoch,
// producer ids, consumer groups and their committed offsets, transactions, what replicas hold, and where they dispute what the broker says. It lives in the log's Pebble database, so that deleting a topic
// and its records is one atomic write, and so is giving a partition another incarnation, which its log knows as well.
//
//	c, err := catalog.Open(db, time.Now, rand.Reader)
//	epoch, err := c.BeginEpoch() // once, before the log is opened
//	t, err := c.Create(catalog.Spec{Name: "files", Partitions: 8})
//
// Every change is durable when its call returns, but for the end of leases. Changes made at the same time by several goroutines share one sync.
//
// # Format
//
// Keys are in package keys: C (broker-wide values), N (topics), G (groups), O (committed offsets), U (offsets of open transactions),
// X (transactional ids), Y (additions to open transactions), Q (client quotas), H (leases), D (disputes),
// S (settlements). Each value starts with its version, 01 where nothing else is said, then, integers big-endian:
//
//	topic    id 16, created ms 8, uvarint n, n x (ordinal 4, incarnation 16), uvarint m, m x (name, value)
//	quotas   uvarint n, n x (name, value 8: a float64)
//	offset   offset 8, leader epoch 4 (ffffffff: unknown), commit ms 8, metadata
//	txn      producer id 8, previous producer id 8 (ff..: none), epoch 2, last epoch 2 (ffff: none), state 1 (0 Empty, 1 Ongoing,
//	         2 CompleteCommit, 3 CompleteAbort), flags 1 (1: the last end raised the epoch), time-out ms 4, start ms 8 (ff..: none),
//	         update ms 8, uvarint n, n x (topic, partition 4, ordinal 4), uvarint m, m x group; version 02 with state 1
//	added    uvarint n, n x (topic, partition 4, ordinal 4), uvarint m, m x group
//	lease    topic id 16, partition 4, incarnation 16, cut 8, since 8 (ff..: none), from 8, expiry ms 8, topic, replica
//	dispute  incarnation 16, cut 8, log start 8, rows 8, sum 32, since ms 8, uvarint n, n x (name, host, cut 8, repairs 8, bootstraps 8)
//	settled  incarnation 16, cut 8, uvarint n, n x (name, heard ms 8)
//	C        cluster-id: text; leader-epoch, next-ordinal, next-producer-id: 8 bytes; kept-ordinals: n x ordinal 4, ascending;
//	         configs/TYPE/NAME: of a resource that is no topic: uvarint m, m x (name, value)
//
// where name, value, topic, group, replica and host are a uvarint length and the bytes.
//
// A transaction is written whole when it begins; what comes into it later is a value of its own under the producer's id, so that many
// partitions that are added one by one cost no more than as many partitions. All of them go with the batch that ends the transaction. A
// program that does not know them would end the transaction without their partitions, so an open one has version 02. One of version 01 is
// of before: it has no additions, and is written again before it gets one.
//
// A transaction ends with one Pebble batch of package log, which takes what EndTransaction and EndOffsets write: markers, offsets and
// state are durable together or not at all. So no state says that a transaction is being ended.
package catalog
