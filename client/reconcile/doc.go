// Package reconcile compares a source's full state, rows in any order, with a topic at a cut, and finds the deltas that make the topic's state the
// source's: a put for each key whose row differs, a delete for each that vanished. It writes nothing.
//
//	r, err := reconcile.Compare(ctx, reconcile.Config{Plane: p}, source)
//	for _, w := range r.Writes { ... }
//
// What is lost before the log, in a dual write, by acks=0, by a connector that died, is in no delta, and so no replica can miss it. The source alone
// knows, and here it is asked.
//
// # How it compares
//
// The cut is made first, then the source is read: a row of the source is at least as new as the cut. Or the cut is one that was there before a dump was
// taken (Config.At). The source is ranged over once for its digest, a tag of each row and a hash of each key: 16 bytes a row in memory. A key that comes
// twice is a *DuplicateKeyError. A value is the row's that the topic's fold makes of it: JSON documents are compared in their canonical form.
//
//  1. By digest. Sums of partitions add up: if that of the frames is the source's, they are equal, and nothing more is asked for.
//  2. By sketch. A partition whose digest is that of the source's rows that belong to it (Config.Partition) is equal and left out. The others are
//     compared each with its own rows; where that does not tell, because keys were written by another partitioner, all with all: cells of disjoint sets
//     add up (package sketch).
//  3. By tags, 8 bytes a row of the log; by whole frames in the end.
//
// Then the source is ranged over again for the rows that differ. What was found is proved before it is returned: the log's digest, less the rows that go, and
// with those that come, is the source's; a way that does not lead there leads to the next one. The second pass must have the digest of the first
// (ErrSourceChanged). Beside the 16 bytes a row, what differs is in memory, with its values, and of what deltas touched since the cut the keys whose rows are
// not the source's, deleted ones among them, about 190 bytes each. A way that fails costs another pass.
//
// A key belongs to no partition by itself. One that the log has is written to the partition where its row is; one that is new, to that of the
// partitioner. Where the same key is live in several partitions, the row in the partition that the partitioner names stays and the others go
// (Write.Duplicate).
//
// # What moved meanwhile
//
// The cut says what the source can have known. A key that no delta touched since is compared as it was there. One that was touched is right if its row
// now is what the source has, and is left alone if it is not (Result.Moved), whether it differed at the cut or not: that delta may be newer than the
// source, and a stale dump must not overwrite it. So the topic's state is the source's now exactly if there are neither Writes nor Moved, and who
// compares again with the cut of a comparison whose writes have been made finds nothing. A key that was written with the value that it had counts as touched.
//
// A row that has expired since the cut, because retention or DeleteRecords moved the log start over it, nobody wrote. The topic has no row of that key any
// more, so it differs if the source has it: it is put again, as it is by a comparison whose cut is made now. Where the log start has passed the cut
// itself, deltas may have come and expired that nobody can tell of any more, and that is ErrTooOld, unless the topic's digest is the source's.
//
// What was touched is asked for after the comparison and right before the answer. By digest first: if the topic's is the source's now, nothing more is
// asked for, and else what changed since the cut, with a pass over the source for those keys that are not what it has. What was found has to explain the
// digest at that look. It does not where rows have expired since the frames that were compared, and it may not where a key lies in another partition
// than its deltas went to. Then the topic is compared once more, as it is at the look, until it does, or a fourth time: what differs there and
// was not touched is a write, the rest has moved. That costs what a comparison costs. Wherever another cut was made, also because a frame was thinned
// out, it still is the first cut that counts.
//
// That look and the caller's write are not one step, and the log knows no conditional put. A producer that writes a key between them is overwritten by
// what the source had when it was read; so is one whose transaction was open at the look, since nobody sees what is in it: with Config.Settled the
// look waits for its end. Afterwards Result.Overtaken tells which keys others wrote meanwhile; not which have expired. So whoever reconciles beside a live
// producer of the same keys should either do so where that producer writes (one writer for a key, as Producer.PublishState in the producer's own process
// between two of its writes), or reconcile once more: the next comparison finds the key if the source has a newer value.
package reconcile
