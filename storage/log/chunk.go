package log

import "sync"

const (
	// chunkBytes is what is read from disk at once: a batch of Kafka's default max.message.bytes, with what its block has beside it. Larger
	// reads are no cheaper (0.29 CPU-seconds per GB for a read and a write to a socket, of 256 KiB as of 1 MiB), and fall out of the
	// processor's cache before they are sent.
	chunkBytes = 1<<20 + 64<<10
	// streamBytes is from where on a run is read in chunks, while it is visited. A smaller one is read as a whole through Pebble, whose
	// block cache has what several readers of the log's end want at the same time.
	streamBytes = 256 << 10
)

// chunk is memory that what is on disk is read into. Whoever gave one back must have nothing that points into it.
type chunk struct{ b []byte }

// chunks lends chunks.
type chunks struct{ pool sync.Pool }

func (c *chunks) get() *chunk {
	if x, ok := c.pool.Get().(*chunk); ok {
		return x
	}
	return &chunk{b: make([]byte, chunkBytes)}
}

func (c *chunks) put(x *chunk) {
	if poison {
		clear(x.b)
	}
	if len(x.b) == chunkBytes { // one batch alone was larger: its memory is not kept
		c.pool.Put(x)
	}
}

// room returns n bytes of the chunk behind the first used ones; nil: there are others in it, and no room for that many. A batch that is larger than
// a chunk gets one of its size.
func (x *chunk) room(used, n int) []byte {
	if used+n > len(x.b) {
		if used > 0 {
			return nil
		}
		x.b = make([]byte, n)
	}
	return x.b[used : used+n : used+n]
}
