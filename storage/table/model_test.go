package table_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/crashfs"
	"github.com/keyframelog/keyframe/storage/table"
)

// checks is how many random histories there are: KEYFRAME_CHECKS, default 12, which makes a plain run short.
var checks = number("KEYFRAME_CHECKS", 12)

func number(name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		panic(fmt.Sprintf("%s=%q: want a positive number", name, text))
	}
	return n
}

func setChecks() {
	if err := flag.Set("rapid.checks", strconv.Itoa(checks)); err != nil {
		panic(err)
	}
}

const rowMax = 80

// modelTable is one partition: the table and what the oracle says of it.
type modelTable struct {
	t       *table.Table
	ordinal uint32
	kind    oracleKind
	o       *oracle
	next    int64
	frames  map[int64]modelFrame
	trims   [][2]int64 // cut, time
	horizon int64
	gone    map[string]bool // tombstones that expired
}

type modelFrame struct {
	state    oracleState
	rejected uint64
}

type model struct {
	*store
	crash  *crashfs.FS
	tables []*modelTable
	used   uint32
	clock  int64
	held   *heldView
}

// heldView is a view that stays open while its table is folded, trimmed, even dropped.
type heldView struct {
	v    *table.View
	x    modelTable
	want oracleState
}

func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{crash: crashfs.New()}
		m.store = openStore(t, m.crash, &m.clock, rowMax, rapid.Bool().Draw(t, "shrunk"))
		defer func() { m.release(t); m.close(t) }()
		for _, k := range []oracleKind{oracleLast, oraclePatch, oracleCounter} {
			x := &modelTable{ordinal: m.used, kind: k, o: newOracle(k, rowMax), frames: map[int64]modelFrame{}, gone: map[string]bool{}}
			m.used++
			m.tables = append(m.tables, x)
		}
		m.reopened(t)
		t.Repeat(map[string]func(*rapid.T){
			"fold":    m.fold,
			"fold2":   m.fold,
			"fold3":   m.fold,
			"settle":  m.settle,
			"settle2": m.settle,
			"thin":    m.thin,
			"trim":    m.trim,
			"expire":  m.expire,
			"hold":    m.hold,
			"restart": func(t *rapid.T) { m.release(t); m.close(t); m.open(t); m.reopened(t) },
			"crash":   m.crashed,
			"load":    m.load,
			"":        m.check,
		})
	})
}

func (m *model) reopened(t fatal) {
	for _, x := range m.tables {
		var err error
		x.t, err = m.db.Table(x.ordinal, identity(fold.Kind(x.kind), int32(x.ordinal)))
		require.NoError(t, err)
		require.Equal(t, x.next, x.t.Position())
	}
}

func (m *model) crashed(t *rapid.T) {
	percent := rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "unsynced")
	seed := rapid.Uint64().Draw(t, "seed")
	m.release(t)
	crash := m.crash.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 0))})
	m.close(t)
	m.crash = crash
	m.store = openStore(t, crash, &m.clock, rowMax, m.shrunk)
	m.reopened(t)
}

// hold checks the view that was held so far and opens another.
func (m *model) hold(t *rapid.T) {
	m.release(t)
	x := m.pick(t)
	cut, want := table.Current, x.o.copy()
	if cuts := x.cuts(); len(cuts) > 0 && rapid.Bool().Draw(t, "frame") {
		cut = rapid.SampledFrom(cuts).Draw(t, "cut")
		want = x.frames[cut].state
	}
	v, err := x.t.View(cut)
	require.NoError(t, err)
	h := *x
	h.o = &oracle{kind: x.o.kind, max: x.o.max, history: slices.Clone(x.o.history), starts: slices.Clone(x.o.starts)}
	m.held = &heldView{v, h, want}
}

// release checks that the held view still shows what it showed.
func (m *model) release(t fatal) {
	if h := m.held; h != nil {
		h.x.compareView(t, h.v, h.want, 0)
		require.NoError(t, h.v.Close())
		m.held = nil
	}
}

func (x *modelTable) draw(t *rapid.T) []oracleDelta {
	if rapid.IntRange(0, 2).Draw(t, "idle") == 0 {
		return nil
	}
	n := rapid.IntRange(0, 40).Draw(t, "deltas")
	deltas := make([]oracleDelta, 0, n)
	for range n {
		deltas = append(deltas, x.drawDelta(t))
	}
	return deltas
}

var patches = []string{`{"a":1}`, `{"a":null}`, `{"b":{"c":[1,2]}}`, `{"b":{"c":null,"d":"x"}}`, `{"e":9007199254740993}`, `7`, `"text"`, `{}`, `{"b":null,"z":"0123456789012345678901234567890123456789"}`}

func (x *modelTable) drawDelta(t *rapid.T) oracleDelta {
	d := oracleDelta{key: fmt.Sprintf("k%02d", rapid.IntRange(0, 29).Draw(t, "key")), offset: x.next, time: 1000 + x.next}
	if rapid.IntRange(0, 7).Draw(t, "long") == 0 {
		d.key = d.key[:2] // a prefix of others
	}
	x.next += int64(rapid.IntRange(1, 3).Draw(t, "gap"))
	if rapid.IntRange(0, 3).Draw(t, "header") == 0 {
		d.header = "v"
	}
	d.op = rapid.SampledFrom([]oracleOp{oraclePut, oracleDelete, oraclePatchOp, oraclePatchOp}).Draw(t, "op")
	if d.op == oracleDelete {
		return d
	}
	switch x.kind {
	case oracleLast:
		d.op = oraclePut
		d.value = rapid.SampledFrom([]string{"", "x", "some value", string(bytes.Repeat([]byte("y"), rowMax-30)), string(bytes.Repeat([]byte("y"), rowMax-20))}).Draw(t, "value")
		if len(d.value) > 2 {
			d.value = d.value[:len(d.value)-1] + fmt.Sprint(d.offset%10)
		}
	case oraclePatch:
		d.value = rapid.SampledFrom(patches).Draw(t, "patch")
	case oracleCounter:
		if d.op == oraclePatchOp {
			d.op = oracleAdd
		}
		d.value = rapid.SampledFrom([]string{"1", "-5", "9223372036854775807", "-9223372036854775808", "0"}).Draw(t, "n")
	}
	return d
}

// fold commits some of the tables together.
func (m *model) fold(t *rapid.T) {
	var folds []table.Fold
	var done []func()
	for _, x := range m.tables {
		if rapid.IntRange(0, 2).Draw(t, "skip") == 0 {
			continue
		}
		deltas := x.draw(t)
		f := table.Fold{Table: x.t, Changes: collapse(deltas), End: x.next, Cut: rapid.Bool().Draw(t, "cut"), CutTimeMs: m.clock}
		for _, d := range deltas {
			x.o.apply(d)
		}
		if rapid.Bool().Draw(t, "folded") {
			x.foldBefore(&f, deltas)
		}
		if f.Cut && rapid.IntRange(0, 2).Draw(t, "start moves") == 0 {
			f.Start = rapid.Int64Range(x.t.Start()/2, x.next).Draw(t, "start")
		}
		if f.Start <= x.t.Start() && rapid.Bool().Draw(t, "expect") {
			want := digestOf(x.o.state)
			wrong := want
			wrong.Count++
			f.Expect = &wrong
			require.ErrorIs(t, m.db.Commit(background, []table.Fold{f}), table.ErrDigest)
			f.Expect = &want
		}
		folds = append(folds, f)
		done = append(done, func() {
			for _, d := range deltas {
				if x.o.state[d.key].offset >= d.offset { // not rejected
					delete(x.gone, d.key)
				}
			}
			if f.Cut { // at a cut that is there the start alone may move
				m.moveStart(t, x, f.Start)
				x.frames[x.next] = modelFrame{x.o.copy(), x.o.rejected}
			}
		})
	}
	require.NoError(t, m.db.Commit(background, folds))
	for _, f := range done {
		f()
	}
}

// moveStart follows the table's log start; only where very many rows leave it stops short of what was asked for.
func (m *model) moveStart(t fatal, x *modelTable, asked int64) {
	is, was := x.t.Start(), int64(0)
	if n := len(x.o.starts); n > 0 {
		was = x.o.starts[n-1].start
	}
	if is != asked {
		require.True(t, asked <= was && is == was || m.shrunk && is >= was && is < asked, "asked for %d, is %d, was %d", asked, is, was)
	}
	if is != was {
		x.o.expire(oracleStart{x.next, is})
	}
}

// foldBefore replaces the changes by rows that are folded already, as a collapsed interval or a consolidated delta has them.
func (x *modelTable) foldBefore(f *table.Fold, deltas []oracleDelta) {
	if len(deltas) == 0 {
		return
	}
	before := x.o.replay(deltas[0].offset)
	var rows []oracleDelta
	seen := map[string]bool{}
	for _, d := range deltas {
		r, ok := x.o.state[d.key]
		if seen[d.key] || !ok || r.offset < deltas[0].offset {
			continue
		}
		seen[d.key] = true
		row := oracleDelta{key: d.key, op: oraclePut, value: r.value, offset: r.offset, time: r.time, header: r.header}
		if r.dead {
			row.op = oracleDelete
		}
		rows = append(rows, row)
	}
	f.Changes = collapse(rows)
	for i := range f.Changes {
		f.Changes[i].Folded = true
	}
	f.Skipped[0] = x.o.rejected - before.rejected
}

func (x *modelTable) cuts() []int64 {
	var cuts []int64
	for c := range x.frames {
		cuts = append(cuts, c)
	}
	slices.Sort(cuts)
	return cuts
}

func (m *model) pick(t *rapid.T) *modelTable { return rapid.SampledFrom(m.tables).Draw(t, "table") }

func (m *model) thin(t *rapid.T) {
	x := m.pick(t)
	cuts := x.cuts()
	if len(cuts) == 0 {
		require.ErrorIs(t, x.t.Thin(background, 1), table.ErrNoFrame)
		return
	}
	require.ErrorIs(t, x.t.Thin(background, cuts[0]), table.ErrOldestFrame)
	if len(cuts) > 1 {
		c := rapid.SampledFrom(cuts[1:]).Draw(t, "cut")
		require.NoError(t, x.t.Thin(background, c))
		delete(x.frames, c)
	}
}

// settle changes nothing of what any frame shows.
func (m *model) settle(t *rapid.T) {
	x := m.pick(t)
	require.NoError(t, x.t.Settle(background))
	require.False(t, x.t.SettleDue())
}

func (m *model) trim(t *rapid.T) {
	x := m.pick(t)
	cuts := x.cuts()
	if len(cuts) == 0 {
		return
	}
	c := rapid.SampledFrom(cuts).Draw(t, "cut")
	require.NoError(t, x.t.Trim(background, c))
	x.trimmed(c, m.clock)
}

func (x *modelTable) trimmed(c, now int64) {
	for f := range x.frames {
		if f < c {
			delete(x.frames, f)
		}
	}
	if len(x.trims) == 0 || x.trims[len(x.trims)-1][0] < c {
		x.trims = append(x.trims, [2]int64{c, now})
	}
}

func (m *model) expire(t *rapid.T) {
	x := m.pick(t)
	m.clock += int64(rapid.IntRange(1, 5).Draw(t, "later"))
	before := m.clock - int64(rapid.IntRange(0, 4).Draw(t, "age"))
	limit := int64(0)
	for _, c := range x.trims {
		if c[1] < before {
			limit = max(limit, c[0])
		}
	}
	n := 0
	for k, r := range x.o.state {
		if r.dead && r.offset < limit && !x.gone[k] {
			x.gone[k] = true
			x.horizon = max(x.horizon, r.offset+1)
			n++
		}
	}
	got, err := x.t.ExpireTombstones(background, before)
	require.NoError(t, err)
	require.Equal(t, n, got)
}

// load moves a frame into a table of its own, by way of the frame format, and goes on with that.
func (m *model) load(t *rapid.T) {
	i := rapid.IntRange(0, len(m.tables)-1).Draw(t, "table")
	x := m.tables[i]
	if len(x.frames) == 0 {
		return
	}
	cuts := x.cuts()
	cut := cuts[len(cuts)-1]
	if cut != x.next {
		return
	}
	id := identity(fold.Kind(x.kind), int32(m.used))
	bad := m.export(t, x, cut, id, true)
	_, err := m.load1(t, id, bad)
	require.ErrorIs(t, err, table.ErrDigest)
	y, err := m.load1(t, id, m.export(t, x, cut, id, false))
	require.NoError(t, err)
	_, err = m.load1(t, id, m.export(t, x, cut, id, false))
	require.ErrorIs(t, err, table.ErrExists)
	require.NoError(t, m.db.Drop(background, x.ordinal))
	_, err = x.t.View(table.Current)
	require.ErrorIs(t, err, table.ErrClosed)
	x.t, x.ordinal = y, m.used
	m.used++
	x.horizon, x.trims = cut, nil
	x.frames = map[int64]modelFrame{cut: x.frames[cut]}
	for k, r := range x.o.state {
		if r.dead {
			x.gone[k] = true
		}
	}
}

func (m *model) load1(t fatal, id table.Identity, b []byte) (*table.Table, error) {
	r, err := frame.NewReader(bytes.NewReader(b), 1<<20)
	require.NoError(t, err)
	return m.db.Load(background, m.used, id, r)
}

func (m *model) export(t fatal, x *modelTable, cut int64, id table.Identity, damage bool) []byte {
	v, err := x.t.View(cut)
	require.NoError(t, err)
	defer v.Close()
	f := v.Frame()
	var b bytes.Buffer
	h := frame.Header{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: cut, Start: f.Start, Since: -1, Fold: id.Fold, CutTimeMs: f.CutTimeMs}
	w := frame.NewWriter(&b, h)
	foot := frame.Footer{Digest: f.Digest, Rejected: f.Rejected, Rows: uint64(f.Rows())}
	foot.Pub = f.Digest.Pub(digest.FrameID{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: cut, Start: f.Start})
	if damage {
		foot.Digest.Count++
	}
	for r, err := range v.Offsets(0, false) {
		require.NoError(t, err)
		require.NoError(t, w.Append(&r))
	}
	require.NoError(t, w.Close(foot))
	return b.Bytes()
}
