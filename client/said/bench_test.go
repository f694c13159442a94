package said_test

import (
	"encoding/binary"
	"testing"

	"github.com/keyframelog/keyframe/client/said"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
)

// 1 M keys of 16 bytes, values of 99: what each record costs, folded and settled; and a moment with its wait.
func BenchmarkSay(b *testing.B) {
	const keys = 1_000_000
	s := newState(fold.LastValue, 1)
	key, value := make([]byte, 16), make([]byte, 99)
	n := uint64(0)
	say := func() said.Word {
		binary.BigEndian.PutUint64(key, n*0x9e3779b97f4a7c15%keys)
		binary.BigEndian.PutUint64(value, n)
		n++
		return s.Say(0, batch.Record{Key: key, Value: value})
	}
	for n < keys {
		s.Settle(say(), int64(n-1), nil)
	}
	b.Run("record", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Settle(say(), int64(n-1), nil)
		}
	})
	b.Run("moment", func(b *testing.B) {
		for b.Loop() {
			if err := s.Wait(b.Context(), s.Moment()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("rows", func(b *testing.B) {
		for b.Loop() {
			s.Rows()
		}
	})
}
