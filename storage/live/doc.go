// Package live is the table of one partition together with its open interval: the tail of the log, collapsed per key in bounded memory.
// Gets and scans read through both, so that reading one's own write waits for the tail only and never for a fold.
//
//	p := live.New(t, live.Config{})
//	err := p.Apply(b)                  // batch by batch; ErrFull: fold first
//	row, asOf, ok, err := p.Get(key)
//	f, finish, ok := p.StartFold(true) // readers see the interval until it is folded
//	err = db.Commit(ctx, []table.Fold{f, ...})
//	finish(err)
//
// Of a key the interval holds either its state, once a put or delete made what was below irrelevant, or the chain of deltas that wait for
// the row below; a long chain is settled by reading that row. Deltas that the fold rejects are counted once, by whoever folds them:
// what was known before goes into table.Fold's Skipped. Nothing here is persisted: after a crash the interval is read from the log again.
//
// Layers, as a reader sees them: open interval, interval being folded, table. A fold becomes visible in the table before its interval goes
// away; so deltas at or below the offset of the row below are skipped, which gives the same row either way. Where the intervals move
// while the row below is read, the reader starts again.
//
// At gives the state at any offset that the log and the key frames still reach: the nearest frame below, and the deltas up to it.
// Diff compares two of them, at the cost of what was touched between where frames allow it; History
// tells of one key what each delta did to it.
package live
