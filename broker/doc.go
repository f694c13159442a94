// Package broker composes the server: storage, topics, the Kafka protocol, the keyframer and the state plane.
//
//	b, err := broker.Start(ctx, broker.DefaultConfig())
//	defer b.Close()
//
// # The flow of one record
//
//	wire      a connection's reader takes a frame off the socket; guard walks it; kmsg decodes it
//	kafka     produce checks the batch (checksum, structure; on key-framed topics every delta)
//	log       the partition stamps offset and leader epoch, one Pebble batch takes record batch, producer state and index
//	log       one committer waits for the shared fsync, moves the high watermark, wakes who waits
//	wire      the connection's writer answers, in the order of the requests
//	keyframer a worker applies the batch to the open interval; a cut folds it into the table, many partitions in one ingest
//	state     rows, frames and digests are served from there; kafka serves rows below the delta start offset
//
// Start opens from the bottom up, Close closes from the top down; each part waits for its own goroutines.
package broker
