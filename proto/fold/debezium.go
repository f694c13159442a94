package fold

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyframelog/keyframe/proto/delta"
)

// events are shared by all goroutines: a decoder is worth keeping. Nothing but memory passes through the pool.
var events = sync.Pool{New: func() any { return &eventReader{decoder: jsontext.NewDecoder(new(bytes.Buffer))} }}

// readEvent reads a change event of Debezium as the operation that it is on the row of its key: the value is its after-image, as it is
// spelled there, or nil for a delete. Whole and syntactically right is all of the event, numbers are in range in the after-image. The error is
// a *delta.Refusal; the value aliases the event.
func readEvent(event []byte) (op delta.Op, after []byte, err error) {
	r := events.Get().(*eventReader)
	defer events.Put(r)
	defer r.forget()
	if err := checkDepth(event); err != nil {
		return 0, nil, err
	}
	e, err := r.members(event)
	if err != nil {
		return 0, nil, err
	}
	if e.payload != nil && e.schema { // JsonConverter with schemas.enable=true
		if string(e.payload) == "null" {
			return delta.Delete, nil, nil
		}
		if e, err = r.members(e.payload); err != nil {
			return 0, nil, err
		}
	}
	return r.operation(e)
}

// eventMembers are the members of an event that matter, as they are spelled; nil where there is none.
type eventMembers struct {
	op, after, payload []byte
	schema             bool // there is one
}

type eventReader struct {
	input   bytes.Buffer
	decoder *jsontext.Decoder
	name    []byte
}

func (r *eventReader) forget() {
	r.input = bytes.Buffer{}
	r.decoder.Reset(&r.input)
}

// members reads one JSON object to the end of the bytes.
func (r *eventReader) members(object []byte) (e eventMembers, err error) {
	r.input = *bytes.NewBuffer(object)
	r.decoder.Reset(&r.input)
	d := r.decoder
	if begin, err := d.ReadToken(); err != nil {
		return e, badEvent(err)
	} else if begin.Kind() != '{' {
		return e, delta.Refuse("the value is no change event: a JSON object, with or without a schema around it")
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadValue()
		if err != nil {
			return e, badEvent(err)
		}
		if r.name, err = jsontext.AppendUnquote(r.name[:0], name); err != nil {
			return e, badEvent(err)
		}
		value, err := d.ReadValue()
		if err != nil {
			return e, badEvent(err)
		}
		end := int(d.InputOffset())
		value = object[end-len(value) : end : end] // the decoder's own slice would not outlive it
		switch string(r.name) {
		case "op":
			e.op = value
		case "after":
			e.after = value
		case "payload":
			e.payload = value
		case "schema":
			e.schema = true
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return e, badEvent(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return e, delta.Refuse("the value is not valid JSON: something follows the change event")
	}
	return e, nil
}

func badEvent(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return delta.Refuse("the value is not valid JSON: it ends within the change event")
	}
	return delta.Refuse("the value is not valid JSON: %v", err)
}

// operation decides by op: c, u and r (create, update, read) have the after-image, d deletes.
func (r *eventReader) operation(e eventMembers) (op delta.Op, after []byte, err error) {
	if e.op == nil {
		return 0, nil, delta.Refuse("the change event has no op")
	}
	if e.op[0] != '"' {
		return 0, nil, delta.Refuse("the change event's op is %.40s: c, u, r or d", e.op)
	}
	if r.name, err = jsontext.AppendUnquote(r.name[:0], e.op); err != nil {
		return 0, nil, badEvent(err)
	}
	switch string(r.name) {
	case "d":
		return delta.Delete, nil, nil
	case "c", "u", "r":
		if e.after == nil || string(e.after) == "null" {
			return 0, nil, delta.Refuse("the change event has op %s and no after-image", r.name)
		}
		if _, err := checkNumbers(e.after); err != nil {
			return 0, nil, err
		}
		return delta.Put, e.after, nil
	case "t":
		return 0, nil, delta.Refuse("the change event truncates a table (op t), which is no change of one key: leave Debezium's skipped.operations=t")
	case "m":
		return 0, nil, delta.Refuse("the change event is a message (op m), which is no change of a row")
	}
	return 0, nil, delta.Refuse("the change event has op %.40q: c, u, r or d", bytes.Clone(r.name))
}
