// Package log is the log on Pebble: partitions of record batches, appended in order, durable before they are visible.
//
//	store, err := log.Open(log.Config{DB: db, LeaderEpoch: epoch, Reserve: dir.Reserve(), Fatal: dir.Fatal})
//	p, err := store.OpenPartition(ordinal, meta)
//	a, err := p.Append(b)           // written: ordered, not yet durable
//	err = a.Wait(ctx)               // durable, and visible to readers
//	batches, err := p.Batches(0, p.Bounds().HighWatermark, 1<<20)
//
// The layouts are in package keys; a batch is stored byte for byte as it was given, with base offset and leader epoch stamped, and with
// Terms.StampTime its append time in place of its producer's times.
//
// # An append
//
// Append takes the partition's append lock, checks the producer's sequence, stamps the batch, and applies one Pebble batch
// {record batch, producer state, time index entry, first offset of a leader epoch}, so that a crash leaves all of it or
// nothing. It does not wait for the disk: the store's one committer goroutine waits for the syncs in the order of the
// appends, then moves the high watermark, calls the watchers and completes Appended. All partitions share one write-ahead
// log, so one fsync serves everything that is waiting.
//
//   - The high watermark is the synced end. Nothing at or above it is ever returned, so a crash cannot take back what a
//     reader saw.
//   - After ShowUnsynced(true), which a topic asks for with flush.messages other than 1, the high watermark of the partition is the
//     written end, and appends complete at once: the sync is scheduled as before, and nobody waits for it. A crash takes back what was not
//     synced. The last stable offset stays at or below the synced end, so tables, key frames and replicas never hold what a crash can
//     take back.
//   - What is appended and not yet synced is bounded in bytes; beyond it Append waits, with no lock held.
//   - A sync that fails is never repeated: Config.Fatal is called, once, and every later append is ErrFailed.
//
// # Transactions
//
// A transactional batch opens its producer's transaction in the partition; the producer's state, which is written with the batch, says
// where it began, so that a restart knows it. The last stable offset is the first offset of the oldest transaction without a durable
// marker: it never lies above what a crash can take back either.
//
// AppendMarkers ends a transaction with one Pebble batch: a marker in each partition, the producers' states, entries of the index of
// aborted transactions, and whatever the coordinator keeps beside them. A crash leaves all of it or nothing, so there is no transaction
// that ended in one partition and goes on in another, and nothing to be finished after a restart. It takes the append locks of all
// partitions in the order of their ordinals, and the committer moves all of them after one sync.
//
// Sequences and epochs around markers are Kafka's: a marker with another epoch begins the producer's window anew, at sequence 0; older
// epochs are refused; a batch outside the producer's open transaction is refused; a producer in a transaction is never forgotten. A marker
// that is Foreign is refused for an older coordinator epoch, too, and where it is refused the other partitions get it all the same. Aborted
// tells a reader of committed records what to skip.
//
// # Reading
//
// The newest batches of all partitions are kept in memory, the very slices that were appended, within one byte budget:
// a reader at the tail never reaches Pebble. What comes from disk is checked (CRC-32C, base offset, continuity) before it
// is returned; damage is a *CorruptError with the offset. An iterator lives for one call and for at most maxBytes, because
// an open iterator keeps everything that it can see on disk.
//
// Locate finds a Run of batches from their keys alone, so that whoever sends it knows how long it is before a byte of it is read. Run.Each then reads it,
// a chunk of 1 MiB (or one batch that is larger) at a time: that is all the memory that it takes, however long the run. A run of 256 KiB and more is read
// from the blob files themselves (package blobfile), once and in their order, past Pebble's block cache, which would copy it and throw out
// what others want. Where that does not find the very batch that was appended, Pebble reads it, and says what is wrong. Chunks are used again as soon as Each's
// visitor has returned; under the race detector they are cleared then, so that a reader that keeps one is found.
//
// # Trimming
//
// SetLogStart moves log start and delta start, HideBelow only the log start: what it hides from consumers is still there to be folded.
// TrimTo writes the new delta start and the range delete in one Pebble batch; memory is told first, so a reader that comes
// too late gets ErrTrimmed and not a hole. The batch with the last offset always stays, and so does what lies at or above the last stable
// offset, but for SetLogStart. A range delete alone gives space
// back late or never: the store compacts the log's key space in the background, every 256 MiB appended, after a large trim,
// and when it has become idle with something to free (0.3 s a call: the tables hold keys only, the values are in blob files).
//
// # Time
//
// The append time is the broker's clock, made monotone per partition. Records have their producers' timestamps, in any
// order, or the append time of their batch. One index serves both, and knows the size of any part of the log without reading it: see
// package keys, T.
package log
