package fold

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
)

func TestCounter(t *testing.T) {
	f := NewFolder(Counter, 1<<20)
	add := func(s State, v string) (State, Rejection) {
		return f.Apply(s, delta.Delta{Op: delta.Add, Key: []byte("k"), Value: []byte(v)})
	}
	s, why := add(State{}, "-5")
	require.Zero(t, why)
	require.Equal(t, "-5", string(s.Value))
	s, why = add(s, "9223372036854775807")
	require.Zero(t, why)
	require.Equal(t, "9223372036854775802", string(s.Value))
	again, why := add(s, "6")
	require.Equal(t, CounterOverflow, why)
	require.Equal(t, s, again)
	_, why = add(State{true, []byte("-9223372036854775808")}, "-1")
	require.Equal(t, CounterOverflow, why)
	_, why = add(State{true, []byte("apples")}, "1")
	require.Equal(t, NotACounter, why)
	for _, bad := range []string{"", "+1", "01", "-0", "-", "1.0", " 1", "9223372036854775808", "0x1"} {
		_, err := Counter.Delta([]byte("k"), []byte(bad), nil)
		require.Error(t, err, "%q", bad)
		_, why := add(State{}, bad)
		require.Equal(t, Malformed, why, "%q", bad)
	}
}

func TestWhatADeltaAloneShows(t *testing.T) {
	op := func(name string) batch.Headers {
		return batch.AppendHeaders(nil, batch.Header{Key: delta.HeaderOp, Value: []byte(name)})
	}
	k, v := []byte("k"), []byte("1")
	for _, x := range []struct {
		name    string
		kind    Kind
		key     []byte
		value   []byte
		headers batch.Headers
		want    delta.Op // 0: refused
	}{
		{"put by default", LastValue, k, v, nil, delta.Put},
		{"empty value is a put", LastValue, k, []byte{}, nil, delta.Put},
		{"null deletes", LastValue, k, nil, nil, delta.Delete},
		{"merge by default", JSONMergePatch, k, v, nil, delta.Merge},
		{"JSON null is a value", JSONMergePatch, k, []byte("null"), nil, delta.Merge},
		{"null deletes a document", JSONMergePatch, k, nil, nil, delta.Delete},
		{"an empty document", JSONMergePatch, k, []byte{}, nil, 0},
		{"add by default", Counter, k, v, nil, delta.Add},
		{"named put", Counter, k, v, op("put"), delta.Put},
		{"empty key", Counter, []byte{}, v, nil, delta.Add},
		{"null key", LastValue, nil, v, nil, 0},
		{"unknown op", LastValue, k, v, op("upsert"), 0},
		{"op of another fold", LastValue, k, v, op("add"), 0},
		{"merge into a counter", Counter, k, v, op("merge"), 0},
		{"delete with a value", LastValue, k, v, op("delete"), 0},
		{"delete with an empty value", LastValue, k, []byte{}, op("delete"), delta.Delete},
		{"put of null", LastValue, k, nil, op("put"), 0},
		{"put of bad JSON", JSONMergePatch, k, []byte("{"), op("put"), 0},
	} {
		d, err := x.kind.Delta(x.key, x.value, x.headers)
		if x.want == 0 {
			var refusal *delta.Refusal
			require.ErrorAs(t, err, &refusal, x.name)
			continue
		}
		require.NoError(t, err, x.name)
		require.Equal(t, x.want, d.Op, x.name)
	}
}

func TestAParsedDeltaAliasesTheRecord(t *testing.T) {
	key, value := []byte("k"), []byte("7")
	d, err := Counter.Delta(key, value, nil)
	require.NoError(t, err)
	require.Same(t, &key[0], &d.Key[0])
	require.Same(t, &value[0], &d.Value[0])
	headers := batch.AppendHeaders(nil, batch.Header{Key: delta.HeaderOp, Value: []byte("delete")})
	d, err = LastValue.Delta(key, []byte{}, headers)
	require.NoError(t, err)
	require.Equal(t, delta.Delta{Op: delta.Delete, Key: key, Headers: headers}, d)
	require.Same(t, &headers[0], &d.Headers[0])
}

func TestKinds(t *testing.T) {
	for kind, name := range map[Kind]string{LastValue: "last-value", JSONMergePatch: "json-merge-patch", Counter: "counter", Debezium: "debezium"} {
		got, err := ParseKind(name)
		require.NoError(t, err)
		require.Equal(t, kind, got)
		require.Equal(t, name, kind.String())
	}
	require.Equal(t, []Kind{1, 2, 3, 4}, []Kind{LastValue, JSONMergePatch, Counter, Debezium}, "the numbers are stored")
	_, err := ParseKind("LastValue")
	require.Error(t, err)
	for _, unknown := range []Kind{0, 5, 255} {
		_, err = unknown.Delta([]byte("k"), []byte("v"), nil)
		var refusal *delta.Refusal
		require.ErrorAs(t, err, &refusal)
		require.NotEmpty(t, unknown.String())
		_, why := NewFolder(unknown, 10).Apply(State{}, delta.Delta{Op: delta.Put, Key: []byte("k"), Value: []byte("v")})
		require.Equal(t, Malformed, why)
	}
}

func TestReasonsAreNumbered(t *testing.T) {
	for number, name := range []string{"none", "counter_overflow", "not_a_counter", "row_too_large", "malformed", "reason_5"} {
		require.Equal(t, name, Rejection(number).String(), "the numbers are stored")
	}
}

// Resets promises that a delta that is applied has one result, whatever it meets.
func TestResets(t *testing.T) {
	for _, kind := range []Kind{LastValue, JSONMergePatch, Counter, Debezium} {
		for _, op := range []delta.Op{delta.Put, delta.Delete, delta.Merge, delta.Add} {
			if !kind.Resets(op) {
				require.False(t, kind == LastValue && kind.admits(op), "every operation of last-value resets")
				continue
			}
			f := NewFolder(kind, 1<<10)
			d := delta.Delta{Op: op, Key: []byte("k")}
			if op != delta.Delete {
				d.Value = []byte("1")
			}
			fresh, why := f.Apply(State{}, d)
			require.Zero(t, why)
			want := string(fresh.Value)
			for _, state := range []string{"", "7", `{"a":1}`, "junk"} {
				got, why := f.Apply(State{true, []byte(state)}, d)
				require.Zero(t, why)
				require.Equal(t, fresh.Exists, got.Exists)
				require.Equal(t, want, string(got.Value))
			}
		}
	}
}

// The state of the Apply before may be handed in although the folder reuses its memory.
func TestStateSurvivesItsOwnFolder(t *testing.T) {
	f := NewFolder(JSONMergePatch, 1<<20)
	s, _ := f.Apply(State{}, delta.Delta{Op: delta.Put, Key: []byte("k"), Value: []byte(`{"a":1,"b":2}`)})
	s, _ = f.Apply(s, delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(`{"c":3,"d":{"e":1.50}}`)})
	s, _ = f.Apply(s, delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(`{"a":null}`)})
	require.Equal(t, `{"b":2,"c":3,"d":{"e":1.5}}`, string(s.Value))
}

// Apply is total, and what it makes of canonical states is canonical.
func FuzzApply(f *testing.F) {
	f.Add(uint8(1), uint8(1), []byte(`v`), []byte(`w`))
	f.Add(uint8(2), uint8(3), []byte(`{"a":{"b":1}}`), []byte(`{"a":{"b":null,"c":[1.0]}}`))
	f.Add(uint8(2), uint8(3), []byte(`{"｡":1,"😀":2}`), []byte(`{"\ud83d\ude00":null,"\"":{"\u0001":{}}}`))
	f.Add(uint8(3), uint8(4), []byte(`1`), []byte(`-2`))
	f.Add(uint8(4), uint8(1), []byte(`{"a":1}`), []byte(`{"b":1.0,"a":2}`))
	f.Fuzz(func(t *testing.T, kind, op uint8, state, value []byte) {
		folder := NewFolder(Kind(kind), 1<<16)
		prev := State{true, state}
		before := string(state)
		d := delta.Delta{Op: delta.Op(op), Key: []byte("k"), Value: value}
		next, why := folder.Apply(prev, d)
		require.Equal(t, before, string(state), "the state that was handed in is not written to")
		if why != 0 {
			require.Equal(t, prev, next)
			return
		}
		again, why := NewFolder(Kind(kind), 1<<16).Apply(prev, d)
		require.Zero(t, why)
		require.Equal(t, next.Exists, again.Exists)
		require.Equal(t, string(next.Value), string(again.Value), "equal in, equal out")
		var c canonicaliser
		if was, err := c.canonical(state); Kind(kind) == JSONMergePatch && next.Exists && err == nil && string(was) == before {
			require.Equal(t, string(next.Value), canonical(t, string(next.Value)))
		}
	})
}

func BenchmarkCounter(b *testing.B) {
	f := NewFolder(Counter, 1<<10)
	state := State{true, []byte("1234567890")}
	d := delta.Delta{Op: delta.Add, Key: []byte("k"), Value: []byte("-17")}
	b.ReportAllocs()
	for b.Loop() {
		f.Apply(state, d)
	}
}
