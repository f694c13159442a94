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
// Many rows are faster in an Adder, or by Entries, which hash two at a time. That is why there is assembly here: a row is three blocks, and half of what a
// client does for a row that it loads is SHA-256. The SHA instructions of amd64 wait for each other within one message most of the time, so
// two messages take hardly longer than one; crypto/sha256 has no such function, and for messages as short as these its accounting
// costs nearly as much as the hash. The sequence is that of Intel's white paper "Intel SHA Extensions" (2013), the function that of
// FIPS 180-4. On other processors, and with the build tag purego, it is crypto/sha256, with the same results.
//
// It detects faults, not forgery: for chosen values a sum of SHA-256 can be forged in minutes. Offsets, timestamps and headers are
// not part of it.
package digest
