package table_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/big"
	"strconv"
)

// The oracle folds naively, one delta at a time onto a map. It imports nothing of the project: what it says and what the table
// stores have no code in common.

type oracleKind int

const (
	oracleLast oracleKind = iota + 1
	oraclePatch
	oracleCounter
)

type oracleOp int

const (
	oraclePut oracleOp = iota + 1
	oracleDelete
	oraclePatchOp
	oracleAdd
)

type oracleDelta struct {
	key    string
	op     oracleOp
	value  string
	offset int64
	time   int64
	header string // a header of the producer's, "" = none
}

type oracleRow struct {
	value  string
	dead   bool
	offset int64
	time   int64
	header string
}

type oracleState map[string]oracleRow

type oracle struct {
	kind     oracleKind
	max      int
	state    oracleState
	rejected uint64
	history  []oracleDelta
	starts   []oracleStart
}

// oracleStart is a log start offset that took effect at a cut.
type oracleStart struct{ cut, start int64 }

func newOracle(kind oracleKind, max int) *oracle {
	return &oracle{kind: kind, max: max, state: oracleState{}}
}

func (o *oracle) apply(d oracleDelta) {
	o.history = append(o.history, d)
	before, ok := o.state[d.key]
	live := ok && !before.dead
	row := oracleRow{offset: d.offset, time: d.time, header: d.header}
	switch d.op {
	case oracleDelete:
		row.dead = true
	case oraclePut:
		row.value = d.value
		if o.kind == oraclePatch {
			row.value = string(canonicalJSON(parseJSON(d.value)))
		}
	case oraclePatchOp:
		var doc any
		if live {
			doc = parseJSON(before.value)
		}
		row.value = string(canonicalJSON(mergePatch(doc, parseJSON(d.value))))
	case oracleAdd:
		sum := new(big.Int)
		if live {
			sum.SetString(before.value, 10)
		}
		x, _ := new(big.Int).SetString(d.value, 10)
		sum.Add(sum, x)
		if !sum.IsInt64() {
			o.rejected++
			return
		}
		row.value = strconv.FormatInt(sum.Int64(), 10)
	}
	if len(d.key)+len(row.value)+headerBytes(d.header) > o.max {
		o.rejected++
		return
	}
	o.state[d.key] = row
}

// expire takes out what lies below a log start offset, at a cut: rows and tombstones.
func (o *oracle) expire(x oracleStart) {
	if n := len(o.starts); n > 0 && o.starts[n-1].cut == x.cut {
		o.starts = o.starts[:n-1]
	}
	o.starts = append(o.starts, x)
	maps.DeleteFunc(o.state, func(_ string, r oracleRow) bool { return r.offset < x.start })
}

// headerBytes is the size of the producer's header, if there is one, and of the longest keyframe.op that a row may be given.
func headerBytes(value string) int {
	n := len("keyframe.op") + len("delete") + 3
	if value != "" {
		n += len("h") + len(value) + 3
	}
	return n
}

func (o *oracle) copy() oracleState { return maps.Clone(o.state) }

// at returns the state at an offset, from the beginning.
func (o *oracle) at(x int64) oracleState { return o.replay(x).state }

func (o *oracle) replay(x int64) *oracle {
	p := newOracle(o.kind, o.max)
	starts := o.starts
	for _, d := range o.history {
		for len(starts) > 0 && starts[0].cut <= min(d.offset, x) {
			p.expire(starts[0])
			starts = starts[1:]
		}
		if d.offset < x {
			p.apply(d)
		}
	}
	for len(starts) > 0 && starts[0].cut <= x {
		p.expire(starts[0])
		starts = starts[1:]
	}
	return p
}

func parseJSON(s string) any {
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return v
}

func canonicalJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// mergePatch is the pseudo code of RFC 7396.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for k, v := range p {
		if v == nil {
			delete(t, k)
		} else {
			t[k] = mergePatch(t[k], v)
		}
	}
	return t
}
