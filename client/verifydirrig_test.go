package client

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
)

// tester is *testing.T or *rapid.T.
type tester interface {
	require.TestingT
	Cleanup(func())
}

// dirRig is a log, and a directory whose copy of it a test makes up.
type dirRig struct {
	t     tester
	log   *fakeLog
	plane *fakePlane
	fs    *vfs.MemFS
	cfg   Config
}

func newDirRig(t tester, kind fold.Kind) *dirRig {
	g := &dirRig{t: t, log: newFakeLog(kind, 1), fs: vfs.NewMem()}
	g.plane = newFakePlane(t, g.log)
	g.cfg = Config{Topic: g.log.topic, StateURL: g.plane.url, Store: DirFS(g.fs, "replica")}
	return g
}

func dirContext(t tester) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	t.Cleanup(cancel)
	return ctx
}

// store makes the directory one that holds rows at a position, under the log's identity.
func (g *dirRig) store(rows map[string]frame.Row, position, start int64) {
	g.log.mu.Lock()
	id := g.log.frameID(0, position)
	g.log.mu.Unlock()
	id.Start = start
	var b bytes.Buffer
	w := frame.NewWriter(&b, frame.Header{TopicID: id.TopicID, Partition: 0, Incarnation: id.Incarnation, Cut: position, Start: start, Since: -1, Fold: g.log.kind})
	sorted := slices.SortedFunc(maps.Values(rows), func(a, b frame.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := range sorted {
		require.NoError(g.t, w.Append(&sorted[i]))
	}
	d := digestOf(rows)
	require.NoError(g.t, w.Close(frame.Footer{Digest: d, Pub: d.Pub(id), Rows: uint64(len(rows))}))
	s, err := openDirStores(g.cfg.withDefaults())
	require.NoError(g.t, err)
	fr, err := frame.NewReader(&b, 0)
	require.NoError(g.t, err)
	loaded, err := s.load(0, fr)
	require.NoError(g.t, err)
	require.NoError(g.t, loaded.remember(0))
	require.NoError(g.t, loaded.close())
	require.NoError(g.t, s.close())
}

// at is the log's state at an offset.
func (g *dirRig) at(offset int64) map[string]frame.Row {
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	return g.log.stateLocked(0, offset)
}

func (g *dirRig) verify() DirVerdict {
	before := filesOf(g.t, g.fs, "replica")
	verdicts, err := VerifyDirCosts(dirContext(g.t), g.cfg)
	require.NoError(g.t, err)
	require.Len(g.t, verdicts, 1)
	require.Equal(g.t, before, filesOf(g.t, g.fs, "replica"), "the directory stays as it is")
	return verdicts[0]
}

// filesOf is every file below a directory, byte for byte.
func filesOf(t require.TestingT, fs vfs.FS, dir string) map[string]string {
	out := map[string]string{}
	names, err := fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		require.NoError(t, err)
		if info.IsDir() {
			maps.Copy(out, filesOf(t, fs, path))
			continue
		}
		f, err := fs.Open(path)
		require.NoError(t, err)
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		out[path] = string(b)
	}
	return out
}

// compareByHand is what VerifyDir must find, without a digest.
func compareByHand(ours, logs map[string]frame.Row) (keys []string) {
	all := maps.Clone(ours)
	maps.Copy(all, logs)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		a, here := ours[key]
		b, there := logs[key]
		switch {
		case !here:
			keys = append(keys, "+ "+key)
		case !there:
			keys = append(keys, "- "+key)
		case !bytes.Equal(a.Value, b.Value):
			keys = append(keys, "~ "+key)
		}
	}
	return keys
}

func (d DirVerdict) keys() (keys []string) {
	for _, x := range d.Differs {
		switch {
		case x.Here == (digest.Entry{}):
			keys = append(keys, "+ "+string(x.Key))
		case x.Log == (digest.Entry{}):
			keys = append(keys, "- "+string(x.Key))
		default:
			keys = append(keys, "~ "+string(x.Key))
		}
	}
	return keys
}

// requireCut holds that keys are said to differ at an offset.
func requireCut(t require.TestingT, at int64, d DirVerdict) {
	for _, x := range d.Differs {
		require.Equal(t, at, x.Cut)
	}
}

// drift changes, loses and adds rows of a state at a position.
func drift(t *rapid.T, rows map[string]frame.Row, position int64) {
	for range rapid.IntRange(0, 4).Draw(t, "drifts") {
		key := fmt.Sprint("k", rapid.IntRange(0, 12).Draw(t, "key"))
		row, ok := rows[key]
		switch what := rapid.IntRange(0, 2).Draw(t, "drift"); {
		case ok && what == 0:
			delete(rows, key)
		case ok:
			row.Value = fmt.Append(nil, rapid.IntRange(0, 9).Draw(t, "value"))
			rows[key] = row
		case what > 0:
			taken := map[int64]bool{}
			for _, r := range rows {
				taken[r.Offset] = true
			}
			for offset := int64(0); offset < position; offset++ {
				if !taken[offset] {
					rows[key] = frame.Row{Key: []byte(key), Value: []byte("7"), Offset: offset}
					break
				}
			}
		}
	}
}
