package wire

import (
	"context"
	"time"
)

// Request is one request as it came off a connection: the frame's size was checked, its header parsed and its body
// pre-scanned (proto/guard), so that Body can be handed to kmsg.
type Request struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      string // "" when the client sent null
	// Body follows the request header. Its memory belongs to this request alone and is never reused, so a handler may
	// keep slices of it (the log's tail cache does).
	Body     []byte
	Conn     *Conn
	Received time.Time // when the last byte of the frame was read
	// Unsupported says that the API or its version is not in proto/guard's table. Only key, version and correlation id are
	// known then: client id and body are empty.
	Unsupported bool
	// Bytes is the size of the whole request, without the four bytes that say so.
	Bytes int
	// Throttle is for the handler to set, before it returns what it answers with, or Finish does: the answer goes out, and for
	// that time nothing more is read from the connection, nor is a later answer sent (KIP-219).
	Throttle time.Duration
}

// Message is an encodable response body; every kmsg.Response is one.
type Message interface {
	Key() int16
	IsFlexible() bool
	AppendTo(dst []byte) []byte
}

// Spliced is a Message that is not all in memory: a fetch of what is on disk. It is sent as its parts, in their order, each of which is read when
// those before it are on their way. AppendTo is not called.
type Spliced interface {
	Message
	Parts() []Part
}

// Part is what AppendTo would append, a piece of it.
type Part struct {
	Head []byte
	Body Body // follows Head; nil: nothing does
}

// Body is bytes that need not be in memory yet. As their number has been sent before they are read, an error in between ends the connection.
type Body interface {
	Len() int
	// Each calls visit with all of them, in pieces that are only valid during the call.
	Each(visit func(pieces [][]byte) error) error
}

// Response is a handler's answer. Exactly one of Message, Finish, None and Close is set; Done goes with any.
type Response struct {
	// Message is the answer, ready now.
	Message Message
	// Finish waits for the answer (an fsync, new records, a rebalance) and returns it. It is called at most once, by the
	// connection's writer goroutine, when all earlier responses of the connection are out, while the reader goes on with
	// the next requests; not at all when the connection ends before. It must return soon after ctx is done (the connection
	// is gone, or the server gave up draining); what it returns then is discarded. A nil Message sends nothing. A wait that
	// may be cut short also ends at Conn.Draining.
	Finish func(ctx context.Context) Message
	// None says that nothing is sent (acks=0).
	None bool
	// Close ends the connection without an answer, after the earlier ones; the text is the reason for the log.
	Close string
	// Done, when not nil, is called exactly once, when the answer has been sent or dropped.
	Done func()
}

// Reply is a Response that is ready.
func Reply(m Message) Response { return Response{Message: m} }

// Later is a Response that has to wait, see Response.Finish.
func Later(finish func(ctx context.Context) Message) Response { return Response{Finish: finish} }

// Handler answers requests. Handle runs in the connection's reader goroutine, one request of a connection at a time in
// the order in which they came, and should return quickly: what has to wait goes into Response.Finish. ctx ends with the
// connection.
type Handler interface {
	Handle(ctx context.Context, r *Request) Response
}
