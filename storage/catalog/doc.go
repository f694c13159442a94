// Package catalog is what the broker knows beside the records: topics and their partitions, configs, the leader epoch,
// producer ids, consumer groups and their committed offsets. It lives in the log's Pebble database, so that deleting a topic
// and its records is one atomic write, and so is giving a partition another incarnation, which its log knows as well.
//
//	c, err := catalog.Open(db, time.Now, rand.Reader)
//	epoch, err := c.BeginEpoch() // once, before the log is opened
//	t, err := c.Create(catalog.Spec{Name: "files", Partitions: 8})
//
// Every change is durable when its call returns. Changes made at the same time by several goroutines share one sync.
//
// # Format
//
// Keys are in package keys: C (broker-wide values), N (topics), G (groups), O (committed offsets). Each value starts with
// the version 01, then, integers big-endian:
//
//	topic    id 16, created ms 8, uvarint n, n x (ordinal 4, incarnation 16), uvarint m, m x (name, value)
//	offset   offset 8, leader epoch 4 (ffffffff: unknown), commit ms 8, metadata
//	C        cluster-id: text; leader-epoch, next-ordinal, next-producer-id: 8 bytes; kept-ordinals: n x ordinal 4, ascending;
//	         configs/TYPE/NAME: of a resource that is no topic: uvarint m, m x (name, value)
//
// where name and value are a uvarint length and the bytes.
package catalog
