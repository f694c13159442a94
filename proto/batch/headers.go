package batch

import (
	"encoding/binary"
	"iter"
)

// Headers is the header section of a record as it is encoded: varint count, then for each header varint key length, key, varint
// value length (-1: null), value. nil means no headers. Log, table and frame hand it on verbatim.
type Headers []byte

// Header is one decoded header. Value may be nil, which is not the same as empty.
type Header struct {
	Key   string
	Value []byte
}

// AppendHeaders encodes headers behind dst.
func AppendHeaders(dst []byte, headers ...Header) Headers {
	dst = binary.AppendVarint(dst, int64(len(headers)))
	for _, h := range headers {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendNullable(dst, h.Value)
	}
	return dst
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

// Len is the number of headers.
func (h Headers) Len() int {
	if len(h) == 0 {
		return 0
	}
	n, _ := binary.Varint(h)
	return int(max(n, 0))
}

// All yields the headers in order; the values alias h. It stops at the first malformed one: see Validate.
func (h Headers) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for c := (cursor{b: h}); c.begin(); {
			key, value, ok := c.next()
			if !ok || !yield(string(key), value) {
				return
			}
		}
	}
}

// Get returns the value of the last header with the key, as Kafka's clients do. It does not allocate.
func (h Headers) Get(key string) (value []byte, ok bool) {
	for c := (cursor{b: h}); c.begin(); {
		k, v, valid := c.next()
		if !valid {
			break
		}
		if string(k) == key {
			value, ok = v, true
		}
	}
	return value, ok
}

// Validate reports whether the section is well-formed to its last byte. Varints must be as short as they can be, as all clients write
// them: whoever decodes the headers and encodes them anew has the same bytes then, and counts the same size. Error: ErrRecord.
func (h Headers) Validate() error {
	if len(h) == 0 {
		return nil
	}
	c := cursor{b: h}
	for c.begin() {
		if _, _, ok := c.next(); !ok {
			return &RecordError{Why: "headers"}
		}
	}
	if c.failed || c.overlong || len(c.b) != 0 {
		return &RecordError{Why: "headers"}
	}
	return nil
}

// With returns a copy with the header behind the others, and those of the same key gone.
func (h Headers) With(key string, value []byte) Headers {
	return AppendHeaders(make([]byte, 0, len(h)+len(key)+len(value)+20), append(h.except(key), Header{key, value})...)
}

// Without returns a copy that lacks the key; nil if nothing is left.
func (h Headers) Without(key string) Headers {
	rest := h.except(key)
	if len(rest) == 0 {
		return nil
	}
	return AppendHeaders(make([]byte, 0, len(h)), rest...)
}

func (h Headers) except(key string) []Header {
	var rest []Header
	for k, v := range h.All() {
		if k != key {
			rest = append(rest, Header{k, v})
		}
	}
	return rest
}

// cursor walks a header section.
type cursor struct {
	b        []byte
	left     int64
	started  bool
	failed   bool
	overlong bool // a varint had more bytes than it needs
}

// begin reads the count once and says whether a header follows.
func (c *cursor) begin() bool {
	if !c.started {
		c.started = true
		if len(c.b) == 0 {
			return false
		}
		if c.left = c.varint(); c.left < 0 || c.left > int64(len(c.b)) {
			c.failed = true
		}
	}
	return !c.failed && c.left > 0
}

func (c *cursor) next() (key, value []byte, ok bool) {
	c.left--
	key = c.bytes(c.varint())
	if c.failed || key == nil {
		c.failed = true
		return nil, nil, false
	}
	if n := c.varint(); n != -1 {
		value = c.bytes(n)
	}
	return key, value, !c.failed
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.failed = true
		return 0
	}
	if n > 1 && c.b[n-1] == 0 {
		c.overlong = true
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) bytes(n int64) []byte {
	if c.failed || n < 0 || n > int64(len(c.b)) {
		c.failed = true
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}
