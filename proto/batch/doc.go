// Package batch reads, checks, stamps and builds record batches of Kafka's message format 2, the unit in which deltas travel and are
// stored. A batch stays the bytes that came: header fields are read in place, what the log assigns is written in place, and records are
// decoded only when somebody asks for them.
//
//	first, rest, err := batch.Split(bytes)      // frame
//	err = first.Validate()                      // what a produced batch must satisfy
//	first.Stamp(offset, leaderEpoch)            // what the log assigns; outside the checksum
//	r := batch.NewReader(32 << 20)              // reused for many batches, by one goroutine at a time
//	err = r.Reset(first)
//	for record, err := range r.All() { ... }
//
// # Batch
//
// All integers are big-endian.
//
//	 0  base offset        int64     assigned by the log
//	 8  length             int32     bytes that follow this field
//	12  leader epoch       int32     assigned by the log
//	16  magic              int8      2
//	17  CRC-32C            uint32    of everything from position 21 on
//	21  attributes         int16     bits 0-2 codec, 3 log append time, 4 transactional, 5 control
//	23  last offset delta  int32     last offset = base offset + this, also where that offset's record is gone
//	27  base timestamp     int64     Unix milliseconds
//	35  max timestamp      int64     of the records; with bit 3, the time of all of them
//	43  producer id        int64     -1: none
//	51  producer epoch     int16
//	53  base sequence      int32     -1: none
//	57  number of records  int32
//	61  records            compressed as a whole if attributes say so
//
// # Record
//
// Varints are zigzag. Offset deltas ascend strictly; a batch that a client sends has one for each offset.
//
//	varint  length of what follows
//	int8    attributes, unused
//	varint  timestamp - base timestamp
//	varint  offset - base offset
//	varint  key length, -1 for null; key
//	varint  value length, -1 for null; value
//	varint  number of headers; for each: varint key length, key, varint value length (-1: null), value
//
// Headers is that last section verbatim.
//
// # Control batches
//
// The end of a transaction, in each of its partitions: a batch with the control and transactional bits, the producer's id and epoch (with
// transaction.version 2 the one that follows the transaction's, KIP-890), base sequence -1, and one record, uncompressed. It takes one
// offset. A client may not produce it.
//
//	key    int16 version 0, int16 type: 0 abort, 1 commit
//	value  int16 version 0, int32 epoch of the transaction coordinator
//
// # Compressed records
//
// What is accepted is what every client can read again, because batches are stored as they came:
//
//	gzip    RFC 1952, several members are allowed
//	snappy  a raw block, or the framing of the xerial library: 82 'SNAPPY' 00, int32 version 1, int32 compatible version 1, then
//	        int32 length and raw block, repeated. Extensions of the block format (S2) are refused. We write the framing, which
//	        Java's client cannot do without.
//	lz4     one LZ4 frame; not the legacy frame
//	zstd    RFC 8878, without dictionaries, any window (level 22 of Java's client declares 128 MiB)
//
// A reader decompresses at most as much as it was made for. Sizes that a format declares, and bounds that follow from its block
// structure, are looked at first, so that a bomb is refused by its first bytes where possible, else at the limit; the buffer is
// allocated once for what the blocks can hold, not by doubling. Against a limit of 32 MiB, TestBomb measures up to 25 ms of processor
// time and 45 MiB; against one of 64 MiB the memory alone is more than 64 MiB.
package batch
