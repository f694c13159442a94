// Package inspect opens a data directory that no broker is using: what is in it, and is all of it what it should be.
//
//	dir, err := inspect.Open(engine.Config{Dir: "keyframe-data"})
//	defer dir.Close()
//	for _, p := range dir.Partitions() { ... }
//	report, err := dir.Check(ctx, func(p inspect.Partition) { ... })
//
// Check reads every record batch (checksum, offsets without gaps, every record decoded), reads every row of every key frame back
// (checksum, count and digest), and folds the raw deltas again, with a plain map in place of the table, from the oldest frame or from
// the start of the log: at each frame the digest must come out the same. It needs memory for the state of one partition at a time.
package inspect
