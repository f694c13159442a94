// Package repair answers what replicas ask about a key frame that they differ from: cells over the tags of its rows (package sketch), the tags
// themselves, and the rows that have the tags which a replica lacks.
//
//	desk := repair.NewDesk(repair.Config{Now: time.Now, Disputed: disputed})
//	defer desk.Close()
//	f, err := desk.Open(ctx, repair.Source{Topic: "files", TopicID: id, Partition: 0, Table: t}, cut)
//	defer f.Release()
//	cells, err := f.Cells(ctx, 0, 64)
//	unknown, err := f.Rows(ctx, tags, func(row *frame.Row) error { ... })
//
// # Nobody is repaired with what is broken
//
// Before the first answer about a frame all of it is read back from disk and hashed. Where that is not the digest which was published, or a row or a
// block is damaged, the error is ErrCorrupt: it is logged, counted, and remembered for Config.Keep, so that a crowd of replicas does not read the same
// broken frame over and over. A frame of another Source.Table is another one: the rows may have been folded anew. Rows are hashed again when they
// are sent. Where Config.Disputed says that replicas agree with one another against this broker, the error is ErrDisputed, whatever the frame's rows
// hash to, but for who only wants to tell what differs (Source.Naming).
//
// # One scan for all
//
// The scan gives the tag and the offset of each row, in offset order. These, and the cells made so far, are kept and serve everybody who repairs from
// the frame; who comes while the scan runs waits for it. A frame costs 20 bytes a row (tag 8, offset 8, encoder 4) and 24 a cell. There is no index from
// tags to offsets: to resolve tags is to go over all of them once, some milliseconds for a million rows, whatever number is asked for.
//
// No view of the table stays open between two calls, so no file is pinned. What keeps the frame while a replica is at it is its lease.
//
// A frame is identified by pub. Where the log start moves at the newest cut, a frame of another pub takes the place of one (see storage/table), and is read
// anew; a Frame that is in use goes on to show the former one, but its rows can be had no more: table.ErrNoFrame.
//
// # Bounds
//
// At most Config.Frames are read at a time, beyond which the error is ErrBusy, and asking again helps; of as many cells are made, and who asks for some
// of another waits. A frame that was read is in nobody's way: a client may search in as many as it likes, in any order, and need not say when it is done. It
// costs memory alone: that of all frames kept, with their cells, is at most Config.MemoryBytes. Where that is used up, frames that were not used for
// Config.Grace go, those first that were not used for longest: who decodes comes back, and a frame is not read for each of its questions. If there
// are none the error is ErrBusy. A frame that needs more alone is ErrTooLarge: it has to be loaded whole.
// Config.Keep after its last use a frame is forgotten. One goroutine does that; scans have one each, and Close waits for all.
package repair
