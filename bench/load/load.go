// Package load makes the records that workloads write, and the clients that write them.
//
//	shape := load.Shape{ValueBytes: 100, Keys: 1_000_000}
//	tables, err := shape.Tables()
//	records := tables.Records(seed)
//	for { cl.Produce(ctx, records.Next(), done) }
//
// Making a record costs no more than the record itself: keys and values are cut from tables made before anything is measured.
package load

import (
	"fmt"
	"math/bits"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kgo"
)

// KeyBytes is the length of every key: "key-" and twelve digits.
const KeyBytes = 16

// keysMax bounds the memory of the table of keys: 1 GiB.
const keysMax = 1 << 26

// Shape is what records look like.
type Shape struct {
	ValueBytes int   `json:"value_bytes"`
	Keys       int64 `json:"keys"` // distinct; 0: records have no key
}

// Validate refuses what cannot be made.
func (s Shape) Validate() error {
	if s.ValueBytes <= 0 || s.ValueBytes > 1<<20 {
		return fmt.Errorf("a value has from 1 to %d bytes, not %d", 1<<20, s.ValueBytes)
	}
	if s.Keys < 0 || s.Keys > keysMax {
		return fmt.Errorf("there are from 0 to %d keys, not %d", keysMax, s.Keys)
	}
	return nil
}

// RecordBytes are those of a key and a value.
func (s Shape) RecordBytes() int64 {
	n := int64(s.ValueBytes)
	if s.Keys > 0 {
		n += KeyBytes
	}
	return n
}

// noiseBytes is how much incompressible data values are cut from: more than any batch, so that none repeats itself.
const noiseBytes = 8 << 20

// Tables are what the records of one shape are cut from. They are not written to, so that any number of Records may share them.
type Tables struct {
	shape Shape
	noise []byte
	keys  []byte
}

// Tables makes them.
func (s Shape) Tables() (*Tables, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	t := &Tables{shape: s, noise: make([]byte, noiseBytes+s.ValueBytes), keys: make([]byte, 0, s.Keys*KeyBytes)}
	_, _ = rand.NewChaCha8([32]byte{1}).Read(t.noise) // never fails
	for i := range s.Keys {
		t.keys = fmt.Appendf(t.keys, "key-%012d", i)
	}
	return t, nil
}

// Records are an endless sequence of records: keys in random order, or each once. It is for one goroutine.
type Records struct {
	*Tables
	random *rand.PCG
	at     int
}

// Records begins a sequence. Two of one seed are equal.
func (t *Tables) Records(seed uint64) *Records {
	return &Records{Tables: t, random: rand.NewPCG(seed, 0), at: int(seed*7919) % noiseBytes}
}

// Next is a record of a random key, each as likely as the others.
func (r *Records) Next() *kgo.Record {
	if r.shape.Keys == 0 {
		return &kgo.Record{Value: r.value()}
	}
	return r.Of(r.Random(r.shape.Keys))
}

// Random is a number below n, each as likely as the others.
func (r *Records) Random(n int64) int64 {
	i, _ := bits.Mul64(r.random.Uint64(), uint64(n)) // Lemire: the upper half is even over the range
	return int64(i)
}

// Of is a record of the key of that number.
func (r *Records) Of(i int64) *kgo.Record {
	return &kgo.Record{Key: r.Key(i), Value: r.value()}
}

// Key is that of a number.
func (t *Tables) Key(i int64) []byte {
	return t.keys[i*KeyBytes : (i+1)*KeyBytes : (i+1)*KeyBytes]
}

// value is the next piece of noise.
func (r *Records) value() []byte {
	r.at = (r.at + 4099) % noiseBytes
	return r.noise[r.at : r.at+r.shape.ValueBytes : r.at+r.shape.ValueBytes]
}
