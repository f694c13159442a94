// Package client is how Go programs use Keyframe: Producer and Consumer, thin on franz-go, and Replica, a local copy of a
// topic's state that follows the log and proves itself against it.
//
//	r, err := client.OpenReplica(ctx, client.Config{
//		Brokers: []string{"127.0.0.1:9092"}, StateURL: "http://127.0.0.1:9094", Topic: "files",
//	})
//	defer r.Close()
//	row, ok, err := r.Get(ctx, []byte("README.md"))
//	for row, err := range r.Scan(ctx, []byte("docs/")) { ... }
//	for change, err := range r.Watch(ctx, nil) { ... }
//
// # What a replica does
//
// It loads the newest key frame of each partition over HTTP (resumed with Range requests where the connection breaks) and shows
// it only once its row count, digest and pub agree with the rows. Then it follows the log from the cut: assigned partitions,
// committed records only, offsets never reset silently. Rows, position, incarnation and digest change together, under one
// lock (Memory) or in one commit (Dir).
//
// It learns of every frame that is cut and compares digests at its cut: when it reaches it; from a ring of recent digests, if it has passed it;
// else the log is asked for its digest at the replica's own position. Each comparison is a Verdict: equal, drifted, inconclusive
// or error, to the callback, the log and the metrics. Only equal passes. Drift is reported, or also halts the partition, or has
// it bootstrap anew (Policy).
//
// When the position is no longer in the log, or what was deleted since is no longer known, or the log is another one
// (incarnation), the partition says so in an Event and bootstraps anew; watchers see the difference as changes, and keys that
// vanished as deletions.
//
// # What it proves
//
// Keys and values. Offsets, timestamps and headers of rows are covered by checksums of transport and storage only. Scrub tells
// whether the stored rows are still what was applied.
package client
