// Package table stores the folded tables of many partitions in one Pebble database: the rows of each, its retained key frames, and
// their digests. It is written by Ingest alone: one Ingest commits rows, index, position, digest and cuts of all partitions that a
// fold concerns, atomically and durably. There is no WAL, and nothing ever goes through the memtable: an ingest beside memtable writes
// could outlive them in a crash.
//
//	db, err := table.Open(table.Config{DB: pdb, Options: opts, FS: vfs.Default, Dir: dir})
//	t, err := db.Table(ordinal, table.Identity{TopicID: id, Partition: 0, Incarnation: inc, Fold: fold.LastValue})
//	err = db.Commit(ctx, []table.Fold{{Table: t, Changes: changes, End: 1000, Cut: true}})
//	v, err := t.View(1000)
//	for row, err := range v.Offsets(0, false) { ... } // the key frame, in offset order
//
// # How it works
//
// A row is written once, at the offset of the last delta that touched its key; the index maps the key to that offset and carries what
// the digest needs to take the row out again, so that a fold reads no row that it replaces. What a fold supersedes it lists in a
// deletion vector. A frame at cut N in offset order is then one scan: the rows below N, less the vectors of the folds that ended at or
// below N. Rows whose last delta lies in [c, N) are the same scan from c.
//
// So that a scan does not pass by all that was ever superseded, Settle takes that out of its way, up to a cut P, once it is an eighth of the table, and
// also what came and went above P. What the vectors list is noted in segments, which describe ranges of rows: that no frame shows it (it is gone), or the
// newest retained cut that may show it, the one below the end of the fold that superseded it (it is settled). A segment that is half dead is rewritten: what
// lives stays, what is settled moves to TablePast, under its offset and that cut. So the rows of the frame at N are those below N in TableRows, less what the
// segments name by cuts below N and what the vectors up to N list; and, for N below P, those in TablePast below N that are named by N or a cut above. The
// newest frame is read at the cost of no more than two rows for each that it shows, and an eighth, whatever the history.
//
// A row is named by a cut G when no cut between G and the end of the fold is retained, and none will be. So it makes no difference when the frame at G
// is thinned: any frame that is left lies at or below G, and shows the row if that lies below it, or above the fold. Rows that no frame shows any more for
// that go when they are rewritten, or with their era: TablePast is written in offset order, range by range, in at most two eras, of which a trim
// removes the first as a whole when nobody needs a row in it. Keyed by the cut instead, the rows of each rewrite would lie between those of all
// others, and each would be written again by compactions, and by each thinning.
//
// For reads by key, the first touch of a key after a cut keeps the index entry as the frame saw it (an undo entry), under the
// cut that precedes the interval. A key as of a frame: the first undo entry from the frame's interval on, else the index.
//
// And the undo entries of the intervals between two frames name every key that can differ between them, so that View.Differences costs what
// was touched there, whatever the tables hold.
//
// Rows carry a flag if they are tombstones, and stay until ExpireTombstones, so that a consumer that was away learns of the delete. The
// horizon is the offset above the last tombstone that expired.
//
// A log start offset S takes effect at a cut: rows and tombstones below it leave the table there as if the fold had superseded them, and
// older frames keep them. So a frame is identified by its cut and its start, (N, S), and pub is a hash over both. Without a new delta there
// is no new cut; then the frame of (N, S') takes the place of the newest one, of (N, S). It is committed as any other fold, in one Ingest, and
// a view of (N, S) that is open goes on to show that. All offsets are as they were: the state at x >= N is without the rows below S' from then
// on, the state below N has not changed. The horizon does not move for that: a reader that applies what changed since c drops its own rows below S,
// and so the keys whose tombstones went with S. Rows that left stay stored until a trim comes behind the cut at which they did, and so do rows
// that came and left within one fold, which no frame shows: till then View.Left still has them, for who has to tell which they were.
//
// A copy of a table that differs from its log is repaired by Patch: rows at offsets below the position, in one Ingest. It keeps no past, so there is
// no frame that would show a row below its cut, and no deletion vector: what goes is dead in its segment, what comes is in the segment that
// covers its offset, or in one of its own.
//
// A block of rows that cannot be read any more takes no other row with it: Salvage reads what lies before and behind, and the index tells which
// rows were in it. When the log has given them again, a Patch stores them, and what was there before leaves the database with the block.
//
// # Crash safety
//
// Every commit is one Ingest, a Patch too, so recovery is reading the meta entry. Trim and Settle take several steps, each of which is one Ingest and
// leaves a table that reads the same: a row goes from TableRows to TablePast in one Ingest, with the segment that described it. Load and Drop put
// their visible step last and first, and Open removes entries of ordinals without a meta entry. What is stored is read back by Verify in one pass, by a
// Scrub piece by piece.
//
// # Damage beside
//
// A table is read, folded, cleaned, trimmed and settled though a block of its neighbour is damaged. Pebble's iterators would read that: here they are asked
// from the other side whether the table has any key there (see spanIter). Pebble's excise would take that along: there the range is
// deleted, and its space comes back with compactions. Pebble's ingest would look into that: there sstables begin where those that enclose them do, as
// of which it does not look; compactions merge them with more than others.
//
// A database is opened whatever rows cannot be read: who reads them is told. But nothing can be read of a table behind the last block of all others' rows while
// that is damaged, in the same sstable: so none is made there (see DB.Examine). The last table can be dropped then, with what nobody has behind it.
//
// # Reading beside ingests
//
// Whoever begins to read a table while an ingest changes it sees the table as it was before; nobody waits. Pebble installs an ingest a
// moment before it makes it visible, and what is read in between may lack what the ingest replaces (see DB.hold).
//
// # Layout
//
// Keys are a space byte, the ordinal (4 bytes), and the rest; integers in keys are big-endian. The spaces are in package keys. Varints
// are those of encoding/binary; "signed" is zigzag. Sealed values are a version byte, the body, and a CRC-32C (4 bytes, big-endian)
// of both.
//
//	0x10 key             index entry: version 1 in the high half of byte 0, flag 1 = tombstone in the low half; offset 8; length of
//	                     the value 4; digest entry 32 (zero for a tombstone)
//	0x20 offset          row: version 1 and flags (1 = tombstone, 2 = headers) in byte 0; timestamp signed varint, ms; uvarint length,
//	                     key; with flag 2: uvarint length, header section as in a record batch; value up to the last 4 bytes;
//	                     CRC-32C of all before, started from the offset's two halves xored
//	0x21 era, offset, cut
//	                     row that was superseded, as in 0x20: frames at or below cut show it, if they are above offset; 0: no frame does
//	0x30 offset          segment, sealed, version 2: uvarints: end - offset; rows stored; those that are gone: dead in every frame, they may be
//	                     missing; those that are settled: dead in frames above their cuts; number of these cuts; the cuts, each the distance
//	                     from the one before. Then the offsets of gone and settled rows as uvarints, each the distance from the one before,
//	                     the first from the segment's offset; with cuts, each is followed by the uvarint 0 (gone) or 1 + the place of its
//	                     cut. Version 1, which is read, has neither settled rows nor cuts, and nothing in their place
//	0x31                 meta, sealed, version 4 or 5: topic id 16; partition 4; incarnation 16; fold 1; uvarints: position, start, horizon,
//	                     bytes; signed varint leader epoch of the last batch below position, -1 = not known; digest; uvarint number of
//	                     rejection counters, each a uvarint; uvarint number of frames, each: uvarints cut, start; digest; uvarints
//	                     bytes, rejected; signed varint time, ms; uvarint number of trims, each: uvarint cut, signed varint time, ms.
//	                     A digest is the sum (32 bytes) and the uvarint count. Then uvarint number of moves of the log
//	                     start above the oldest frame, each: uvarints cut, start; uvarint number of frames that are kept, each: uvarint
//	                     cut; uvarint cut up to which the table is settled, 0 = never; rows superseded up to the newest cut and not
//	                     out of the way, signed varint, -1 = not known; uvarint of those behind it; uvarint number of eras, each the distance
//	                     from the one before as a uvarint. Version 5, which is written only then: uvarint number of frames that are due
//	                     again (see CutAgain), each: uvarints cut, start; signed varint time, ms; 1 if it is kept, else 0. Versions 2 and
//	                     3 are read: 3 ends behind the moves, 2 before them
//	0x32 offset          tombstone: version 1, key
//	0x33 end, first      piece of a deletion vector, sealed, version 1: offsets as in a segment without cuts, the first from first. end is where the
//	                     fold ended that superseded them
//	0x34 cut, key        undo entry: the index entry of key as the frame at cut saw it; empty = the frame has no such key
//
// An unknown version is a *VersionError, anything else that cannot be what was written a *CorruptError.
package table
