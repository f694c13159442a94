// Package digest computes sd1, the order-independent digest of a table: equal digests at equal cuts mean equal keys and values.
//
//	entry = SHA-256("keyframe/row/1" 00, uvarint len(key), key, uvarint len(value), value)      live rows only
//	Sum   = sum of entries mod 2^256, big-endian 32 bytes
//	Count = live rows
//	pub   = SHA-256("keyframe/frame/1" 00, topic id, partition be32, incarnation, N be64, S be64, Count be64, Sum)
//	tag   = first 8 bytes of an entry
//
// Replacing a value subtracts the old entry and adds the new. Entries know no topic and no partition: the sum of a topic is the sum
// over its partitions, and mirrors and repartitioned copies compare by (Count, Sum).
//
//	var h digest.Hasher
//	var d digest.Digest
//	d.Add(h.Entry(key, value))
//
// It detects faults, not forgery: for chosen values a sum of SHA-256 can be forged in minutes. Offsets, timestamps and headers are
// not part of it.
package digest
