package client

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A segment is of one leader epoch, says where offsets are missing, and counts markers as what is there.
func TestSegments(t *testing.T) {
	at := func(offset int64, epoch int32) *kgo.Record {
		return &kgo.Record{Offset: offset, LeaderEpoch: epoch, Key: []byte("k")}
	}
	marker := at(5, 1)
	marker.Attrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Control: true})
	require.Empty(t, toSegments(0, nil))
	out := toSegments(3, []*kgo.Record{at(3, 1), at(4, 1), marker, at(6, 2), at(9, 2)})
	require.Len(t, out, 2)
	require.Len(t, out[0].records, 2)
	for i, want := range []segment{{partition: 3, first: 3, next: 6, epoch: 1}, {partition: 3, first: 6, next: 10, gaps: true, epoch: 2}} {
		out[i].records = nil
		require.Equal(t, want, out[i])
	}
}
