package state

import (
	"context"

	"github.com/keyframelog/keyframe/proto/frame"
)

// Rows are sent in messages of about this size.
const (
	messageRows  = 1024
	messageBytes = 256 << 10
)

// rowBytes is about what a row takes of a message.
func rowBytes(r *frame.Row) int { return len(r.Key) + len(r.Value) + len(r.Headers) + 32 }

// outbox collects what a call streams into messages. The first goes out even without rows, for what it says of the whole.
type outbox[M any] struct {
	send        func(*M) error
	message     *M  // the next
	rows, bytes int // of it
	begun       bool
}

// added says that the message has another row, and sends it if it is full.
func (o *outbox[M]) added(ctx context.Context, bytes int) error {
	o.rows++
	o.bytes += bytes
	if o.rows < messageRows && o.bytes < messageBytes {
		return nil
	}
	return firstError(ctx.Err(), o.flush())
}

// flush sends the message as it is.
func (o *outbox[M]) flush() error {
	full := o.message
	o.message, o.rows, o.bytes, o.begun = new(M), 0, 0, true
	return o.send(full)
}

// close sends what is left.
func (o *outbox[M]) close() error {
	if o.begun && o.rows == 0 {
		return nil
	}
	return o.flush()
}
