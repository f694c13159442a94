package guard

import (
	"encoding/binary"
	"fmt"
)

// Header is the header of a request.
type Header struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      string // "" for null
}

// headerFixed is key, version and correlation id.
const headerFixed = 8

// ParseHeader reads the header of a request that is served, without the four bytes of the frame's size: version 1, or version 2 with tags
// where the request is flexible. Errors: ErrMalformed, ErrUnsupported.
func ParseHeader(frame []byte) (h Header, body []byte, err error) {
	if len(frame) < headerFixed {
		return h, nil, fmt.Errorf("%w: header of %d bytes", ErrMalformed, len(frame))
	}
	h.Key = int16(binary.BigEndian.Uint16(frame))
	h.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	r := lookup(h.Key)
	if r == nil || h.Version < r.min || h.Version > r.max {
		return h, nil, fmt.Errorf("%w: key %d version %d", ErrUnsupported, h.Key, h.Version)
	}
	w := walker{b: frame[headerFixed:], memory: memorySlack}
	n := w.length(2, "client_id") // never compact, in any version
	before := w.b
	w.skip(n, "client_id")
	if w.failed == "" {
		h.ClientID = string(before[:n])
	}
	w.flexible = h.Version >= r.flexible
	w.tags(nil)
	if w.failed != "" {
		return h, nil, fmt.Errorf("%w: header of %s v%d: %s", ErrMalformed, r.name, h.Version, w.failed)
	}
	return h, w.b, nil
}
