package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/proto/guard"
)

// parseRequest reads a frame's header and walks its body before anything decodes it. Versions that nobody has a table for
// cannot be walked: such a request has no body for the handler.
func parseRequest(frame []byte) (*Request, error) {
	r := &Request{
		Key:           int16(binary.BigEndian.Uint16(frame)),
		Version:       int16(binary.BigEndian.Uint16(frame[2:])),
		CorrelationID: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	low, high, ok := guard.Supported(r.Key)
	if !ok || r.Version < low || r.Version > high {
		r.Unsupported = true
		return r, nil
	}
	h, body, err := guard.ParseHeader(frame)
	if err != nil {
		return nil, &ProtocolError{Reason: fmt.Sprintf("malformed header of a %s v%d request", kmsg.NameForKey(r.Key), r.Version), Err: err}
	}
	if err := guard.Scan(r.Key, r.Version, body); errors.Is(err, guard.ErrTooMany) {
		return nil, &ProtocolError{Reason: "a request that would take too much memory, ask in several", Err: err}
	} else if err != nil {
		return nil, &ProtocolError{Reason: fmt.Sprintf("malformed %s v%d request", kmsg.NameForKey(r.Key), r.Version), Err: err}
	}
	r.ClientID, r.Body = h.ClientID, body
	return r, nil
}
