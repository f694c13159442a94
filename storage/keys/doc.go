// Package keys has the key layouts of the two databases: one file a database, every key and every value that is not
// another package's format. Integers are big-endian, so that Pebble's byte order is their order. Each value starts with its
// version; an unknown version is ErrVersion and a value that does not parse is ErrCorrupt: they are different things to a
// user.
//
// # Log database
//
//	key                                        value
//	L  ordinal 4  base offset 8                one record batch v2, byte for byte (its own magic is the version)
//	M  ordinal 4                               partition: 01, incarnation 16, log start 8, delta start 8, bytes before it 8;
//	                                           02 where the log start is above the delta start
//	P  ordinal 4  producer id 8                idempotent producer: 01, epoch 2, count 1, then count (1..5) batches, oldest
//	                                           first: first sequence 4, last offset delta 4, base offset 8, append ms 8
//	                                           02, one that has been in a transaction: epoch 2, epoch of the last marker's
//	                                           coordinator 4, open transaction's first offset 8 (-1: none) and its append
//	                                           ms 8, ms of the last append or marker 8, count 1 (0: only a marker made it
//	                                           known), then as above
//	A  ordinal 4  marker's offset 8            aborted transaction: 01, producer id 8, first offset 8, last stable offset 8
//	                                           behind the marker
//	E  ordinal 4  leader epoch 4               01, first offset 8 that was written in the epoch
//	T  ordinal 4  base offset 8                append time index: 01, append ms 8, highest record timestamp before 8,
//	                                           bytes before 8 (of all batches ever appended below the base offset)
//	C  name                                    broker-wide values: 01, then numbers of 4 or 8 bytes, text, or the configs
//	                                           of a resource (see package catalog)
//	N  topic name                              topic: 01, id 16, created ms 8, uvarint partitions, each ordinal 4 and
//	                                           incarnation 16, uvarint configs, each name and value as uvarint length, text
//	G  group                                   group metadata: 01, then the coordinator's bytes
//	O  group 00 topic 00 partition 4           committed offset: 01, offset 8, leader epoch 4, commit ms 8, metadata
//	U  group 00 producer id 8 topic 00         offset that waits for the end of its producer's transaction: the value of O
//	   partition 4
//	X  transactional id                        transaction: 01, producer id 8, previous producer id 8, epoch 2, last epoch 2, state 1,
//	                                           flags 1, time-out ms 4, start ms 8, update ms 8, uvarint partitions, each topic as uvarint
//	                                           length and text, index 4, ordinal 4, then uvarint groups, each uvarint length, text;
//	                                           02 where it is open and may go on in Y
//	Y  producer id 8  number 4                 what came into the producer's open transaction after it had begun: 01, then partitions and
//	                                           groups as in X
//	Q  entity                                  client quotas (KIP-546): 01, uvarint quotas, each name as uvarint length, text, and
//	                                           value 8 (a float64). Entity: user, client-id and ip, each 00 (none), 01 (the
//	                                           default one) or 02 and a uvarint length, text
//	H  lease id 16                             what a replica holds: 01, topic id 16, partition 4, incarnation 16, cut 8, since 8 (-1:
//	                                           none), from 8, expiry ms 8, topic and replica as uvarint length, text
//	D  ordinal 4                               replicas agree with one another and not with the broker: 01, incarnation 16,
//	                                           cut 8, log start 8, rows 8, sum 32, since ms 8, uvarint replicas, each name
//	                                           and host as uvarint length, text, then cut 8, repairs 8, bootstraps 8
//	S  ordinal 4                               up to where such disputes are over: 01, incarnation 16, cut 8, uvarint replicas that
//	                                           an operator has overruled, each name as uvarint length, text, then last heard ms 8
//
// The spaces of one partition (L, M, P, E, T, A, D, S) are dropped with one range delete each. A batch, its producer's state, the
// epoch's start and the time index entry are written in one Pebble batch, so a crash leaves all of them or none.
//
// T has an entry where the append time (broker clock, milliseconds, never going back) changes, and its highest record
// timestamp never goes down: one index is bisected by either. The bytes give the size of any range of a log without
// reading it. It is kept from the last entry below the delta start on.
//
// A is kept as long as its marker lies at or above the delta start. The marker, the entry, and the producer's state without the
// transaction are one Pebble batch, which is that of all partitions of the transaction.
//
// # Table database
//
// See table.go.
package keys
