package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
)

// Codec turns values of T into bytes and back.
type Codec[T any] interface {
	Encode(T) ([]byte, error)
	Decode([]byte) (T, error)
}

// JSON is the codec of encoding/json. Members that T does not have are ignored, as there.
type JSON[T any] struct{}

// Encode implements Codec.
func (JSON[T]) Encode(v T) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Decode implements Codec.
func (JSON[T]) Decode(b []byte) (v T, err error) {
	err = json.Unmarshal(b, &v)
	return v, err
}

// Typed is a view of a replica whose keys are strings and whose values are of T.
type Typed[T any] struct {
	r     *Replica
	codec Codec[T]
}

// NewTyped returns a typed view. It holds nothing of its own.
func NewTyped[T any](r *Replica, codec Codec[T]) Typed[T] { return Typed[T]{r, codec} }

// TypedRow is a row with its value decoded.
type TypedRow[T any] struct {
	Key   string
	Value T
	Row   Row
}

// DecodeError is a value that the codec refused.
type DecodeError struct {
	Partition int32
	Offset    int64
	Key       string
	Err       error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("value of key %q (partition %d, offset %d): %v", e.Key, e.Partition, e.Offset, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// Get returns the value of key, false if there is none.
func (t Typed[T]) Get(ctx context.Context, key string) (T, bool, error) {
	row, ok, err := t.r.Get(ctx, []byte(key))
	if !ok || err != nil {
		var zero T
		return zero, false, err
	}
	decoded, err := t.decode(row)
	return decoded.Value, err == nil, err
}

// Scan yields the rows whose key starts with prefix, in key order. A value that cannot be decoded comes with a
// *DecodeError, and the loop may go on.
func (t Typed[T]) Scan(ctx context.Context, prefix string) iter.Seq2[TypedRow[T], error] {
	return func(yield func(TypedRow[T], error) bool) {
		for row, err := range t.r.Scan(ctx, []byte(prefix)) {
			var out TypedRow[T]
			if err == nil {
				out, err = t.decode(row)
			}
			if !yield(out, err) {
				return
			}
		}
	}
}

// TypedChange is a Change with its value decoded; the zero T where the key was deleted.
type TypedChange[T any] struct {
	Key    string
	Value  T
	Change Change
}

// Watch yields changes as Replica.Watch does. A value that cannot be decoded comes with a *DecodeError, and the loop may go on.
func (t Typed[T]) Watch(ctx context.Context, from Positions) iter.Seq2[TypedChange[T], error] {
	return func(yield func(TypedChange[T], error) bool) {
		for c, err := range t.r.Watch(ctx, from) {
			out := TypedChange[T]{Key: string(c.Key), Change: c}
			if err == nil && !c.Deleted {
				if out.Value, err = t.codec.Decode(c.Value); err != nil {
					err = &DecodeError{c.Partition, c.Offset, out.Key, err}
				}
			}
			if !yield(out, err) {
				return
			}
		}
	}
}

func (t Typed[T]) decode(row Row) (TypedRow[T], error) {
	v, err := t.codec.Decode(row.Value)
	if err != nil {
		err = &DecodeError{row.Partition, row.Offset, string(row.Key), err}
	}
	return TypedRow[T]{string(row.Key), v, row}, err
}
