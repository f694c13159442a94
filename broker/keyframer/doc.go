// Package keyframer tails the durable logs of key-framed partitions, folds them, cuts key frames, and trims what the
// frames replace.
//
//	k := keyframer.New(keyframer.Config{Tables: tables, Logger: logger})
//	defer k.Close()
//	err := k.Add(keyframer.TopicSpec{Name: "files", ID: id, Fold: fold.LastValue, Partitions: partitions}, settings)
//	cut, err := k.Cut(ctx, "files")
//
// # Partitions are step machines
//
// A partition has no goroutine. Events (its log's bounds moved, a time has come, a cut was asked for, a fold ended, its
// settings changed) put it into a queue; a worker of a fixed pool takes it out and does one step: apply about a MiB of
// the log to the open interval, or hand the interval to the folder. What a step does is decided by a pure function of the
// partition's situation (decide). Beside the workers:
//
//   - the folder commits the folds of all partitions that wait for it with one table commit, so that they share an ingest
//     and its fsync; the longer a commit takes, the more share the next one;
//   - one worker of a second queue thins and trims frames, one partition at a time, since trimming reads a whole frame; it also settles what was
//     superseded, once that is an eighth of a table, so that the newest frame is read at the cost of its rows (see table.Settle);
//   - a clock for each queue wakes partitions whose time has come.
//
// # Memory
//
// The open intervals of all partitions share Config.MemoryBytes. From half of it on, the largest intervals give back what was replaced in them, or,
// where that is too little, are folded without a cut; when it is used up, nothing is applied until memory is given back.
//
// # What is durable, and in which order
//
// The table holds position, digest, frames and rows in one commit; the open interval is read from the log again after a
// crash. A trim to frame N is: read the rows of N back from disk (see table.Verify) and compare their digest with the
// frame's; move the log's delta start offset to N, durably; drop the frames below N. A crash in between leaves frames below
// the delta start offset; they are dropped when the partition is opened. A digest that differs, or a damaged block, stops
// trimming for that partition and is reported (log, metric): rows below the delta start offset are primary data.
//
// # What replicas hold
//
// N1 never passes what Config.Holds says is held, and neither is a held frame thinned, nor a held tombstone expired. Between the last look at what is
// held and the deed, somebody may come to hold what is about to go; so both happen under one lock (letGo, Retain), and what is about to go
// counts as gone from then on: whoever comes is offered what stays. The lock is held across no input or output. A trim that is held up is tried
// every second, and told to Holds, which may end what holds too much.
//
// # Scrub
//
// In the background the rows of each partition's newest frame are read back piece by piece and hashed, at Config.ScrubRows a second, and the sum is
// compared with the frame's digest. Where a row or a block is damaged, or the digest differs, the partition is not trimmed any more; it is
// served as before. So it is where a fold, a fetch, or who else reads the rows comes upon damage first, and says so (Partition.Damaged). While its log
// reaches back to its start, and can be read to its end, the table is dropped and folded again at once, as at a start; the frames of the damaged table go
// with it, and Holds is told. They are cut again, at the same cuts and with the same times (table.CutAgain), before any other: the names of cuts are good
// all the while. What they were is lost with a table whose meta cannot be read, which is told; and where deltas are folded onto rows and the log start
// has moved (see below), a frame is cut when the log is folded as far as the newest of them was. Where the log was trimmed nothing is folded
// again, and whoever resumes is offered the newest frame that nobody found damaged (Retained.Sound).
//
// # The log start
//
// Where cleanup.policy has delete, retention (expire.go) and DeleteRecords move the log start over rows and deltas: consumers get nothing
// below from that moment, and the state a commit later. The table lets rows go at a cut, and nothing is applied behind the cut before it is
// committed: a delta must not be folded onto a row that is gone. Where deltas have come since the newest cut, a new one comes at once. On an
// idle partition nothing is appended, and N cannot move: there the frame of (N, S) is superseded by the frame of (N, S'), which has its own pub
// and keeps the time, by which cuts are named.
//
// To hide the rows from readers until the next cut would be less to write, and wrong: a delta that comes meanwhile is folded onto what nobody
// sees any more, so that a counter that had expired goes on counting; and digests would say that those are equal who disagree on what to show.
// So all readers of an offset, live or at a point, and all replicas agree on one S, which is that of the table. It never goes back, and is in
// force at every offset from its cut on: whoever asks for the state at N again after rows have left there gets it without them. What is
// older than N has not changed. A crash between the move of the log start and the commit is made up for at the next start, as the two differ then.
//
// N1 moves to the newest frame at or below the log start, so what is hidden takes its space until then.
//
// A topic that is deleted leaves the catalog, durably, before its tables are dropped: Sweep drops them after a crash in between.
// A table of an ordinal that the catalog has not given out has outlived its topic, because the log has lost its end: it is kept, and so is
// its ordinal.
//
// A table that is folded further than its log reaches shows that the log has lost records that were readable. It is rebuilt while the
// log reaches back to its start, but the log is given another incarnation first, durably in catalog and log at once: the offsets that
// are lost will be other records', and replicas must not go on from them. A crash in between leaves a table of the former
// incarnation, which is rebuilt as well. Where the log does not reach back to its start, the partition fails, at every start from then on.
// Records that took the lost ones' offsets meanwhile do not hide the loss: they are of a later leader epoch than the table remembers.
//
// A table that is folded anew while the log start has moved is another state than the former one where deltas are folded onto rows: which of them
// had left by then depended on the offset of each cut. There the log gets another incarnation as well, and replicas load a frame.
//
// Only frames at or below the last batch's base offset are trimmed to, because the last raw batch stays: a consumer that
// reads to the end needs a record there.
//
// # Transactions
//
// Only committed records are folded: nothing at or above the last stable offset is read, so the outcome of each batch is known when it
// is, and the batches of aborted transactions move the position and nothing else. That holds for a transaction that straddles a cut or a
// restart as well, because the log keeps its outcome beside it. A cut that is due where a transaction straddles waits for its end, for one
// more interval at most. Where an open transaction holds back what is folded, the metric keyframer_held_back_seconds names it.
//
// # Cuts of a whole topic
//
// Cut cuts all partitions at their synced ends and stamps all frames with one time, later than every earlier frame's. The
// name of the cut is that time and a sum of the topic and the offsets of all its frames (partitions without changes keep an older one). It is
// resolved through the frames' times, so that no other state is needed, and the sum says whether those are its frames, whatever was on its way to
// the disk when it was cut.
//
// CutToKeep marks the frames in their tables, so that thinning spares them as long as they are the newest that are marked, and fewer than a third
// of those that stay: a name between two cuts of the interval would be the next to go. Cut, which comparisons use by the hundred, does not.
package keyframer
