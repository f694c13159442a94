package state

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	api "github.com/keyframelog/keyframe/proto/state"
)

// What lines look like. They are what cmd/keyframe prints, with the same names in the same order.

type rowLine struct {
	Key         json.RawMessage `json:"key,omitempty"`
	KeyBase64   []byte          `json:"key_base64,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
	Offset      int64           `json:"offset"`
	Timestamp   int64           `json:"timestamp"`
	Partition   int32           `json:"partition"`
	Headers     []headerLine    `json:"headers,omitempty"`
}

type headerLine struct {
	Key         string          `json:"key"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
}

type diffLine struct {
	Key       json.RawMessage `json:"key,omitempty"`
	KeyBase64 []byte          `json:"key_base64,omitempty"`
	Partition int32           `json:"partition"`
	Before    *sideLine       `json:"before,omitempty"`
	After     *sideLine       `json:"after,omitempty"`
}

type sideLine struct {
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
	Offset      int64           `json:"offset"`
	Timestamp   int64           `json:"timestamp"`
}

type versionLine struct {
	Offset      int64           `json:"offset"`
	Timestamp   *int64          `json:"timestamp,omitempty"`
	Partition   int32           `json:"partition"`
	Op          string          `json:"op,omitempty"`
	Delta       json.RawMessage `json:"delta,omitempty"`
	DeltaBase64 []byte          `json:"delta_base64,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
	Rejected    string          `json:"rejected,omitempty"`
	Expired     bool            `json:"expired,omitempty"`
}

// textOf is bytes as text, or as base64 where they are none. It never is null.
func textOf(b []byte) (text json.RawMessage, base64 []byte) {
	if !utf8.Valid(b) {
		return nil, b
	}
	quoted, err := jsontext.AppendQuote(nil, string(b))
	if err != nil {
		return nil, b
	}
	return quoted, nil
}

func null() json.RawMessage { return json.RawMessage("null") }

func rowLineOf(r *api.Row) *rowLine {
	line := &rowLine{Offset: r.Offset, Timestamp: r.TimestampMs, Partition: r.Partition}
	line.Key, line.KeyBase64 = textOf(r.Key)
	line.Value, line.ValueBase64 = textOf(r.Value)
	for _, h := range r.Headers {
		header := headerLine{Key: h.Key, Value: null()}
		if h.Value != nil {
			header.Value, header.ValueBase64 = textOf(h.Value)
		}
		line.Headers = append(line.Headers, header)
	}
	return line
}

func diffLineOf(r *api.DiffRow) *diffLine {
	line := &diffLine{Partition: r.Partition, Before: sideLineOf(r.Before), After: sideLineOf(r.After)}
	line.Key, line.KeyBase64 = textOf(r.Key)
	return line
}

func sideLineOf(r *api.Row) *sideLine {
	if r == nil {
		return nil
	}
	line := &sideLine{Offset: r.Offset, Timestamp: r.TimestampMs}
	line.Value, line.ValueBase64 = textOf(r.Value)
	return line
}

func versionLineOf(v *api.Version) *versionLine {
	line := &versionLine{Offset: v.Offset, Partition: v.Row.Partition, Op: v.Op, Value: null(), Rejected: v.Rejected, Expired: v.Expired}
	if !v.Expired {
		line.Timestamp = &v.TimestampMs
	}
	if v.Op != "" && (!v.Deleted || len(v.Delta) > 0) {
		line.Delta, line.DeltaBase64 = textOf(v.Delta)
	}
	if !v.Deleted {
		line.Value, line.ValueBase64 = textOf(v.Row.Value)
	}
	return line
}
