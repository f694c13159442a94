// Package inspect opens a data directory that no broker is using: what is in it, and is all of it what it should be.
//
//	dir, err := inspect.Open(engine.Config{Dir: "keyframe-data"})
//	defer dir.Close()
//	partitions, err := dir.Partitions()
//	report, err := dir.Check(ctx, func(p inspect.Partition) { ... })
//
// Nothing in the directory is changed, so a copy or a read-only mount will do.
//
// Check reads every block of every sstable and every value of both databases: their checksums. Then it reads every record batch
// (checksum, offsets without gaps, every record decoded), reads every row of every key frame back (checksum, count and digest),
// and folds the raw deltas again, with a plain map in place of the table, from the oldest frame or from the start of the log:
// at each frame the digest must come out the same. Batches of aborted transactions are left out of that, and the index that says which those
// are, and the transactions that are open, are compared with what markers and batches say. A table that reaches beyond its log, or one of an ordinal that was never
// given out, shows that the end of the log is gone. It needs memory for the state of one partition at a time.
package inspect
