package fold

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
)

func canonical(t require.TestingT, document string) string {
	var c canonicaliser
	out, err := c.canonical([]byte(document))
	require.NoError(t, err, "%s", document)
	return string(out)
}

func TestCanonicalJSON(t *testing.T) {
	for in, want := range map[string]string{
		` { "b" : 1 , "a" : [ true , null ] } `: `{"a":[true,null],"b":1}`,
		`9007199254740993`:                      `9007199254740993`, // RFC 8785 makes ...992
		`{"n":1.0}`:                             `{"n":1}`,
		`1e0`:                                   `1`,
		`-0`:                                    `0`,
		`-0.0e5`:                                `0`,
		`10e20`:                                 `1e+21`,
		`1e20`:                                  `100000000000000000000`,
		`123.4560`:                              `123.456`,
		`0.000001`:                              `0.000001`,
		`0.0000001`:                             `1e-7`,
		`1234567890123456789012.5`:              `1.2345678901234567890125e+21`,
		`0.1000000000000000055511151231257827021181583`: `0.1000000000000000055511151231257827021181583`,
		`"\u00e9\/\u000a"`:              "\"é/\\n\"",
		`{"\uff61":1,"\ud83d\ude00":2}`: "{\"😀\":2,\"｡\":1}", // UTF-16 order, not byte order
		`{"1.0":"1.0"}`:                 `{"1.0":"1.0"}`,
		`1.7976931348623157e308`:        `1.7976931348623157e+308`,
	} {
		require.Equal(t, want, canonical(t, in), "%s", in)
		require.Equal(t, want, canonical(t, want), "canonical bytes stay")
	}
}

func TestRefusedDocuments(t *testing.T) {
	for name, in := range map[string]string{
		"empty":            ``,
		"white space":      ` `,
		"duplicate member": `{"a":1,"a":2}`,
		"deep duplicate":   `[{"a":{"b":1,"b":1}}]`,
		"bad UTF-8":        "\"\xff\"",
		"lone surrogate":   `"\ud800"`,
		"too large":        `1e400`,
		"too small":        `1e-400`,
		"endless exponent": `1e99999999999999999999`,
		"two documents":    `1 2`,
		"trailing comma":   `{"a":1,}`,
		"too deep":         string(bytes.Repeat([]byte("["), maxDepth+1)) + string(bytes.Repeat([]byte("]"), maxDepth+1)),
	} {
		_, err := JSONMergePatch.Delta([]byte("k"), []byte(in), nil)
		var refusal *delta.Refusal
		require.ErrorAs(t, err, &refusal, name)
		require.NotEmpty(t, refusal.Reason)
		f := NewFolder(JSONMergePatch, 1<<20)
		state := State{true, []byte("1")}
		got, why := f.Apply(state, delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(in)})
		require.Equal(t, Malformed, why, name)
		require.Equal(t, state, got)
	}
}

// The examples of RFC 7396, appendix A.
func TestMergePatchExamples(t *testing.T) {
	for _, x := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		f := NewFolder(JSONMergePatch, 1<<20)
		got, why := f.Apply(State{true, []byte(x[0])}, delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(x[1])})
		require.Zero(t, why)
		require.Equal(t, x[2], string(got.Value), "%s merged into %s", x[1], x[0])
	}
}

func genJSON(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.IntRange(-1000, 1000).AsAny(), rapid.SampledFrom([]string{"", "x", "é", "😀", "｡", "\"\\"}).AsAny(),
	}
	if depth > 0 {
		names := rapid.SampledFrom([]string{"a", "b", "c", "é", "😀", "｡", "q\"", "\\"})
		leaves = append(leaves, rapid.MapOfN(names, genJSON(depth-1), 0, 4).AsAny(), rapid.SliceOfN(genJSON(depth-1), 0, 3).AsAny())
	}
	return rapid.OneOf(leaves...)
}

// naiveMerge is the pseudocode of RFC 7396, section 2. (evanphx/json-patch is no oracle: it prunes nulls inside arrays.)
func naiveMerge(target, patch any) any {
	members, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	object := map[string]any{}
	if old, ok := target.(map[string]any); ok {
		maps.Copy(object, old)
	}
	for name, value := range members {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = naiveMerge(object[name], value)
		}
	}
	return object
}

// A chain of merges equals what the definition makes of it.
func TestMergeEqualsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := NewFolder(JSONMergePatch, 1<<20)
		var state State
		var oracle any
		for range rapid.IntRange(1, 6).Draw(t, "patches") {
			drawn := genJSON(3).Draw(t, "patch")
			patch, err := json.Marshal(drawn)
			require.NoError(t, err)
			var decoded any
			require.NoError(t, json.Unmarshal(patch, &decoded))
			var why Rejection
			state, why = f.Apply(state, delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: patch})
			require.Zero(t, why)
			oracle = naiveMerge(oracle, decoded)
			want, err := json.Marshal(oracle)
			require.NoError(t, err)
			require.Equal(t, canonical(t, string(want)), string(state.Value), "after %s", patch)
		}
	})
}

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

func TestRowTooLarge(t *testing.T) {
	f := NewFolder(LastValue, 10)
	_, why := f.Apply(State{}, delta.Delta{Op: delta.Put, Key: []byte("12345"), Value: []byte("123456")})
	require.Equal(t, RowTooLarge, why)
	_, why = f.Apply(State{}, delta.Delta{Op: delta.Put, Key: []byte("12345"), Value: []byte("12345")})
	require.Zero(t, why)
}

// The state of the Apply before may be handed in although the folder reuses its memory.
func TestStateSurvivesItsOwnFolder(t *testing.T) {
	f := NewFolder(JSONMergePatch, 1<<20)
	s, _ := f.Apply(State{}, delta.Delta{Op: delta.Put, Key: []byte("k"), Value: []byte(`{"a":1,"b":2}`)})
	s, _ = f.Apply(s, delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(`{"c":3,"d":{"e":1.50}}`)})
	s, _ = f.Apply(s, delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(`{"a":null}`)})
	require.Equal(t, `{"b":2,"c":3,"d":{"e":1.5}}`, string(s.Value))
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{"b":1.50,"a":[1e3,"\u00e9"]}`, `-0`, `[[[]]]`, `{"":null}`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var c canonicaliser
		out, err := c.canonical(in)
		require.Equal(t, err == nil, checkJSON(in) == nil, "the check and the fold agree")
		if err != nil {
			return
		}
		once := string(out)
		require.Equal(t, once, canonical(t, once))
	})
}

func FuzzApply(f *testing.F) {
	f.Add(uint8(2), uint8(3), []byte(`{"a":1}`), []byte(`{"a":null}`))
	f.Add(uint8(3), uint8(4), []byte(`1`), []byte(`-2`))
	f.Fuzz(func(t *testing.T, kind, op uint8, state, value []byte) {
		folder := NewFolder(Kind(kind), 1<<16)
		prev := State{true, state}
		before := string(state)
		next, why := folder.Apply(prev, delta.Delta{Op: delta.Op(op), Key: []byte("k"), Value: value})
		require.Equal(t, before, string(state), "the state that was handed in is not written to")
		if why != 0 {
			require.Equal(t, prev, next)
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	f := NewFolder(JSONMergePatch, 1<<20)
	state := State{true, []byte(`{"action":"login","amount":12.5,"id":123456789,"note":"some words here","tags":["a","b"],"user":"alice-42"}`)}
	d := delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(`{"amount":13.5,"note":"other words"}`)}
	b.ReportAllocs()
	for b.Loop() {
		f.Apply(state, d)
	}
}

func BenchmarkCanonical(b *testing.B) {
	var c canonicaliser
	doc := []byte(`{"id":123456789,"user":"alice-42","action":"login","amount":12.5,"tags":["a","b"],"note":"some words here"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.canonical(doc); err != nil {
			b.Fatal(err)
		}
	}
}
