package fold

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/delta"
)

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

// genJSON draws documents; nulls says whether arrays may hold null.
func genJSON(depth int, nulls bool) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.IntRange(-1000, 1000).AsAny(), rapid.SampledFrom([]string{"", "x", "é", "😀", "｡", "\"\\"}).AsAny(),
	}
	if depth > 0 {
		elements := genJSON(depth-1, nulls)
		if !nulls {
			elements = elements.Filter(func(x any) bool { return x != nil })
		}
		names := rapid.SampledFrom([]string{"a", "b", "c", "é", "😀", "｡", "q\"", "\\"})
		leaves = append(leaves, rapid.MapOfN(names, genJSON(depth-1, nulls), 0, 4).AsAny(), rapid.SliceOfN(elements, 0, 3).AsAny())
	}
	return rapid.OneOf(leaves...)
}

// naiveMerge is the pseudocode of RFC 7396, section 2.
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
			drawn := genJSON(3, true).Draw(t, "patch")
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

// A second oracle, which others wrote; it prunes null from objects inside arrays, against the RFC, and knows objects only.
func TestMergeEqualsAnotherImplementation(t *testing.T) {
	objects := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "é", "😀", "｡"}), genJSON(3, false), 0, 5)
	rapid.Check(t, func(t *rapid.T) {
		encode := func(x any) []byte {
			b, err := json.Marshal(x)
			require.NoError(t, err)
			return b
		}
		first, second := encode(objects.Draw(t, "document")), encode(objects.Draw(t, "patch"))
		if nullInArray(first) || nullInArray(second) {
			return
		}
		f := NewFolder(JSONMergePatch, 1<<20)
		state, why := f.Apply(State{}, delta.Delta{Op: delta.Put, Key: []byte("k"), Value: first})
		require.Zero(t, why)
		state, why = f.Apply(state, delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: second})
		require.Zero(t, why)
		want, err := jsonpatch.MergePatch(first, second)
		require.NoError(t, err)
		require.Equal(t, canonical(t, string(want)), string(state.Value), "%s merged into %s", second, first)
	})
}

// nullInArray reports whether an array holds null at any depth below it.
func nullInArray(document []byte) bool {
	var walk func(x any, inArray bool) bool
	walk = func(x any, inArray bool) bool {
		switch x := x.(type) {
		case nil:
			return inArray
		case []any:
			return slices.ContainsFunc(x, func(e any) bool { return walk(e, true) })
		case map[string]any:
			for _, e := range x {
				if walk(e, inArray) {
					return true
				}
			}
		}
		return false
	}
	var x any
	return json.Unmarshal(document, &x) == nil && walk(x, false)
}

// States that no fold made: the merge says so and keeps them, or treats them as RFC 7396 treats what is not an object.
func TestMergeIntoJunk(t *testing.T) {
	for junk, rejected := range map[string]bool{
		`{`: true, `{"a"`: true, `{"a":`: true, `{"a":1`: true, `{"a":1}x`: true, `{a:1}`: true, `{"a" :1}`: true, `{"a":}`: true, `{"`: true, `{"z":{`: true,
		``: false, `x`: false, `[`: false, `"`: false,
	} {
		f := NewFolder(JSONMergePatch, 1<<20)
		prev := State{true, []byte(junk)}
		got, why := f.Apply(prev, delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(`{"a":{"b":2},"z":{"y":1}}`)})
		if rejected {
			require.Equal(t, Malformed, why, "%q", junk)
			require.Equal(t, prev, got)
			continue
		}
		require.Zero(t, why, "%q", junk)
		require.Equal(t, `{"a":{"b":2},"z":{"y":1}}`, string(got.Value))
	}
}

func BenchmarkMerge(b *testing.B) {
	deep := strings.Repeat(`{"a":`, maxDepth-1) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat("}", maxDepth-1)
	for _, x := range [][3]string{
		{"110 bytes", plainDocument, `{"amount":13.5,"note":"other words"}`},
		{"hostile", deep, deep},
	} {
		b.Run(x[0], func(b *testing.B) {
			f := NewFolder(JSONMergePatch, 4<<20)
			state := State{true, []byte(canonical(b, x[1]))}
			d := delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(x[2])}
			b.ReportAllocs()
			for b.Loop() {
				if _, why := f.Apply(state, d); why != 0 {
					b.Fatal(why)
				}
			}
		})
	}
}
