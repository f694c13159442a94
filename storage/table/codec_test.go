package table

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/keys"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func sampleMeta() *meta {
	d := digest.Digest{Sum: digest.SumFromBytes([32]byte{1, 2, 31: 9}), Count: 3}
	return &meta{id: Identity{TopicID: [16]byte{1, 15: 2}, Partition: 7, Incarnation: [16]byte{3}, Fold: fold.Counter},
		position: 1000, epoch: 3, horizon: 12, digest: d, bytes: 400, rejects: Rejects{1: 5, 4: 1},
		frames: []Frame{{Cut: 500, Digest: d, Bytes: 300, Rejected: 2, CutTimeMs: 1700000000000}, {Cut: 900, Digest: d, Bytes: 400, CutTimeMs: -1}},
		trims:  []trimmed{{cut: 500, atMs: 1700000000001}}}
}

// sampleDue are frames that are due in a sampleMeta.
func sampleDue() []Frame {
	return []Frame{{Cut: 1500, Start: 20, CutTimeMs: 1700000000002}, {Cut: 70000, Start: 300, CutTimeMs: 1700000000003, Kept: true}}
}

func sampleRows() []frame.Row {
	h := batch.AppendHeaders(nil, batch.Header{Key: "a", Value: []byte("b")})
	return []frame.Row{
		{Key: []byte("key"), Value: []byte("value"), Offset: 1 << 40, Timestamp: 1700000000000, Headers: h},
		{Key: []byte{}, Value: []byte{}, Offset: 0, Timestamp: -1},
		{Key: []byte("gone"), Tombstone: true, Offset: 5, Timestamp: 6},
	}
}

// sampleSegment has three dead rows.
func sampleSegment(cuts ...int64) *segment {
	g := &segment{lo: 100, hi: 200, rows: 50}
	g.setDead([]deadRow{{100, cuts[0]}, {130, cuts[1]}, {199, cuts[2]}})
	return g
}

// TestGolden pins the bytes of everything that is stored.
func TestGolden(t *testing.T) {
	var b strings.Builder
	put := func(what string, v []byte) { fmt.Fprintf(&b, "%s %s\n", what, hex.EncodeToString(v)) }
	put("index-entry", appendEntry(nil, &entry{offset: 300, valueLen: 5, hash: digest.Entry{1, 31: 2}}))
	put("index-entry-tombstone", appendEntry(nil, &entry{offset: 300, tombstone: true}))
	for i, r := range sampleRows() {
		put(fmt.Sprintf("row-%d", i), appendRow(nil, &r))
	}
	put("meta", appendMeta(nil, sampleMeta()))
	m := sampleMeta()
	m.starts = []StartMove{{Cut: 600, Start: 20}, {Cut: 900, Start: 70000}}
	put("meta-starts", appendMeta(nil, m))
	m.frames[1].Kept = true
	put("meta-kept", appendMeta(nil, m))
	m.past = past{settled: 900, unsettled: uncounted, later: 300, eras: []int64{500, 900}}
	put("meta-settled", appendMeta(nil, m))
	m.due = sampleDue()
	put("meta-due", appendMeta(nil, m))
	put("segment", appendSegment(nil, sampleSegment(gone, gone, gone)))
	put("segment-settled", appendSegment(nil, sampleSegment(500, gone, 900)))
	put("vector", seal(appendOffsets([]byte{vectorVersion}, 7, []int64{7, 8, 1000})))
	put("key-index", keys.AppendTableIndex(nil, 258, []byte("k")))
	put("key-row", keys.AppendTableOffset(nil, keys.TableRows, 258, 300))
	put("key-past", appendCut(keys.AppendTablePast(nil, 258, 900, 300), 500))
	put("key-vector", keys.AppendTableVector(nil, 258, 300, 299))
	put("key-undo", keys.AppendTableUndo(nil, 258, 300, []byte("k")))
	const file = "testdata/formats.golden"
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// What earlier releases have stored is read: there was no table that was settled, and nobody counted what is not.
func TestFormerVersions(t *testing.T) {
	m := sampleMeta()
	m.past.unsettled = uncounted
	moved := m.clone()
	moved.starts = []StartMove{{Cut: 600, Start: 20}, {Cut: 900, Start: 70000}}
	former := map[byte]*meta{metaPlain: m, metaUnsettled: moved}
	text, err := os.ReadFile("testdata/former.golden")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		what, code, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := hex.DecodeString(code)
		require.NoError(t, err)
		if what == "segment" {
			require.EqualValues(t, segmentPlain, b[0])
			g, err := decodeSegment(1, 100, b)
			require.NoError(t, err)
			require.Equal(t, *sampleSegment(gone, gone, gone), g)
			continue
		}
		got, err := decodeMeta(1, b)
		require.NoError(t, err)
		require.Equal(t, former[b[0]], got)
		delete(former, b[0])
	}
	require.Empty(t, former)
}

func TestRoundTrip(t *testing.T) {
	for _, r := range sampleRows() {
		got, err := decodeRow(1, r.Offset, appendRow(nil, &r))
		require.NoError(t, err)
		require.Equal(t, r, got)
		_, err = decodeRow(1, r.Offset+1, appendRow(nil, &r))
		require.ErrorIs(t, err, ErrCorrupt, "a row at another's place")
	}
	m := sampleMeta()
	got, err := decodeMeta(1, appendMeta(nil, m))
	require.NoError(t, err)
	require.Equal(t, m, got)
	m.starts = []StartMove{{Cut: 600, Start: 20}, {Cut: 900, Start: 70000}}
	got, err = decodeMeta(1, appendMeta(nil, m))
	require.NoError(t, err)
	require.Equal(t, m, got)
	m.frames[0].Kept = true
	for _, starts := range [][]StartMove{m.starts, nil} {
		m.starts = starts
		got, err = decodeMeta(1, appendMeta(nil, m))
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	m.past = past{settled: 900, unsettled: 70000, later: 3, eras: []int64{0, 500}}
	for _, due := range [][]Frame{nil, sampleDue()} {
		m.due = due
		got, err = decodeMeta(1, appendMeta(nil, m))
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	for _, g := range []*segment{sampleSegment(gone, gone, gone), sampleSegment(900, 0, gone), sampleSegment(500, 500, 500)} {
		s, err := decodeSegment(1, 100, appendSegment(nil, g))
		require.NoError(t, err)
		require.Equal(t, *g, s)
	}
}

// A newer version is not damage, and damage is not a newer version.
func TestVersionAndCorruption(t *testing.T) {
	b := appendMeta(nil, sampleMeta())
	newer := append([]byte{metaVersion + 1}, b[1:len(b)-sealLen]...)
	_, err := decodeMeta(1, seal(newer))
	require.ErrorIs(t, err, ErrVersion)
	require.NotErrorIs(t, err, ErrCorrupt)
	for i := range b {
		damaged := append([]byte(nil), b...)
		damaged[i] ^= 0x40
		_, err := decodeMeta(1, damaged)
		require.ErrorIs(t, err, ErrCorrupt)
		_, err = decodeMeta(1, b[:i])
		require.ErrorIs(t, err, ErrCorrupt)
	}
	r := sampleRows()[0]
	row := appendRow(nil, &r)
	for i := range row {
		damaged := append([]byte(nil), row...)
		damaged[i] ^= 1
		_, err := decodeRow(1, r.Offset, damaged)
		require.ErrorIs(t, err, ErrCorrupt)
	}
	_, err = decodeEntry(1, []byte{2 << 4})
	require.ErrorIs(t, err, ErrVersion)
}

// The time at which a trimmed tombstone may go is remembered in bounded space, and forgetting makes it later, never earlier.
func TestTrimsForgotten(t *testing.T) {
	m := &meta{}
	for i := range int64(1000) {
		m.remember(trimmed{cut: i, atMs: i})
		require.LessOrEqual(t, len(m.trims), trimsMax)
		require.Equal(t, trimmed{i, i}, m.trims[len(m.trims)-1])
	}
}

// A row that is read as a record, with an operation that says what it is, is not too large for the fold that it comes from.
func TestRowIsNoLargerThanItsDelta(t *testing.T) {
	const limit = 60
	f := fold.NewFolder(fold.Counter, limit)
	for _, op := range []delta.Op{delta.Add, delta.Put, delta.Delete} {
		for n := range 2 * limit {
			list := []batch.Header{{Key: "h", Value: make([]byte, n/2)}}
			if n%2 == 0 {
				list = append(list, batch.Header{Key: delta.HeaderOp, Value: []byte(op.String())})
			}
			d := delta.Delta{Op: op, Key: []byte("k"), Value: []byte("1"), Headers: batch.AppendHeaders(nil, list...)}
			s, why := f.Apply(fold.State{}, d)
			if why != 0 {
				continue
			}
			again := delta.Delta{Op: delta.Put, Key: d.Key, Value: s.Value, Headers: fold.Counter.RowHeaders(!s.Exists, d.Headers)}
			if !s.Exists {
				again.Op = delta.Delete
				again.Headers = again.Headers.With(delta.HeaderOp, []byte("delete")) // as consumers get it
			}
			require.LessOrEqual(t, len(again.Key)+len(again.Value)+len(again.Headers), limit)
			_, why = f.Apply(fold.State{}, again)
			require.Zero(t, why, "%s, %d bytes of headers", op, len(d.Headers))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(appendMeta(nil, sampleMeta()))
	m := sampleMeta()
	m.frames[0].Kept = true
	f.Add(appendMeta(nil, m))
	m.due = sampleDue()
	f.Add(appendMeta(nil, m))
	for _, r := range sampleRows() {
		f.Add(appendRow(nil, &r))
	}
	f.Add(appendSegment(nil, sampleSegment(gone, 500, 900)))
	f.Add(appendEntry(nil, &entry{offset: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(err error) {
			require.True(t, err == nil || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion), "%v", err)
		}
		sealed := [][]byte{b} // past the checksum too
		for version := range byte(metaVersion) {
			sealed = append(sealed, seal(append([]byte{version + 1}, b...)))
		}
		for _, sealed := range sealed {
			m, err := decodeMeta(1, sealed)
			check(err)
			if err == nil {
				_, err = decodeMeta(1, appendMeta(nil, m))
				require.NoError(t, err)
			}
			g, err := decodeSegment(1, 5, sealed)
			check(err)
			if err == nil {
				_, err = g.list(1)
				check(err)
			}
		}
		_, err := decodeEntry(1, b)
		check(err)
		_, err = decodeRow(1, 5, b)
		check(err)
		r, err := decodeRow(1, 5, append(b[:len(b):len(b)], be32(rowSum(5, b))...))
		check(err)
		if err == nil {
			_, err = decodeRow(1, 5, appendRow(nil, &r))
			require.NoError(t, err)
		}
		for o := newOffsets(3, b); o.ok; o.next() {
			require.GreaterOrEqual(t, o.at, int64(3))
		}
	})
}

func be32(v uint32) []byte { return []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)} }
