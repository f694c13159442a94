package fold

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
)

// foldEvents applies change events to one key and returns the row, "" if there is none.
func foldEvents(t require.TestingT, list ...string) string {
	f := NewFolder(Debezium, RowBytesMax)
	var s State
	for _, value := range list {
		var v []byte
		if value != "null value" {
			v = []byte(value)
		}
		d, err := Debezium.Delta([]byte("k"), v, nil)
		require.NoError(t, err, "%s", value)
		next, why := f.Apply(s, d)
		require.Zero(t, why)
		s = State{next.Exists, bytes.Clone(next.Value)}
	}
	if !s.Exists {
		return ""
	}
	return string(s.Value)
}

func TestDebeziumVectors(t *testing.T) {
	withSchema, err := os.ReadFile("testdata/debezium-schema.json")
	require.NoError(t, err)
	without, err := os.ReadFile("testdata/debezium.json")
	require.NoError(t, err)
	const row = `{"email":"anne@noanswer.org","first_name":"Anne Marie","id":1004,"last_name":"Kretchmar"}`
	require.Equal(t, row, foldEvents(t, string(withSchema)))
	require.Equal(t, row, foldEvents(t, string(without)))

	const c = `{"op":"c","after":{"b":1.0,"a":9007199254740993}}`
	for name, x := range map[string]struct {
		events []string
		want   string
	}{
		"create":                         {[]string{c}, `{"a":9007199254740993,"b":1}`},
		"read":                           {[]string{`{"op":"r","before":null,"after":{"a":1}}`}, `{"a":1}`},
		"update replaces":                {[]string{c, `{"op":"u","before":{"a":1},"after":{"c":[]}}`}, `{"c":[]}`},
		"delete":                         {[]string{c, `{"op":"d","before":{"a":1},"after":null}`}, ``},
		"delete without after":           {[]string{c, `{"op":"d"}`}, ``},
		"delete, whatever after":         {[]string{c, `{"op":"d","after":{"a":1}}`}, ``},
		"null value":                     {[]string{c, "null value"}, ``},
		"delete, its tombstone, create":  {[]string{c, `{"op":"d","after":null}`, "null value", `{"op":"c","after":{}}`}, `{}`},
		"payload":                        {[]string{`{"schema":{"type":"struct"},"payload":{"op":"c","after":{"a":1}}}`}, `{"a":1}`},
		"payload first":                  {[]string{`{"payload":{"op":"c","after":{"a":1}},"schema":null}`}, `{"a":1}`},
		"null payload":                   {[]string{c, `{"schema":{},"payload":null}`}, ``},
		"a column of that name":          {[]string{`{"op":"c","payload":1,"after":{"payload":{"op":"d"},"op":"d"}}`}, `{"op":"d","payload":{"op":"d"}}`},
		"after is text (MongoDB)":        {[]string{`{"op":"c","after":"{\"_id\": 1}"}`}, `"{\"_id\": 1}"`},
		"escaped names":                  {[]string{`{"\u006fp":"\u0063","\u0061fter":{"\u0061":1}}`}, `{"a":1}`},
		"white space":                    {[]string{" {\n\t\"op\" : \"c\" , \"after\" : { \"a\" : 1 } } "}, `{"a":1}`},
		"numbers elsewhere do not count": {[]string{`{"op":"c","before":{"n":1e999},"after":1}`}, `1`},
	} {
		require.Equal(t, x.want, foldEvents(t, x.events...), name)
	}
}

func TestRefusedEvents(t *testing.T) {
	for name, event := range map[string]string{
		"truncate":             `{"op":"t"}`,
		"message":              `{"op":"m","message":{}}`,
		"unknown op":           `{"op":"x","after":{}}`,
		"op in capitals":       `{"op":"C","after":{}}`,
		"op is no text":        `{"op":1,"after":{}}`,
		"op is null":           `{"op":null,"after":{}}`,
		"no op":                `{"after":{}}`,
		"create of nothing":    `{"op":"c","after":null}`,
		"update of nothing":    `{"op":"u"}`,
		"empty":                ``,
		"white space":          ` `,
		"JSON null":            `null`,
		"an array":             `[{"op":"d"}]`,
		"text":                 `"d"`,
		"a row":                `{"id":7}`,
		"payload, no schema":   `{"payload":{"op":"d"}}`,
		"payload is no object": `{"schema":{},"payload":[]}`,
		"truncate in payload":  `{"schema":{},"payload":{"op":"t"}}`,
		"cut off":              `{"op":"d"`,
		"cut off in a member":  `{"op":"d","before":{"a":`,
		"two events":           `{"op":"d"}{"op":"d"}`,
		"trailing comma":       `{"op":"d",}`,
		"op twice":             `{"op":"d","op":"c","after":{}}`,
		"member twice":         `{"op":"c","after":{"a":1,"a":2}}`,
		"bad UTF-8":            "{\"op\":\"c\",\"after\":\"\xff\"}",
		"lone surrogate":       `{"op":"c","after":{"a":"\ud800"}}`,
		"number out of range":  `{"op":"c","after":{"a":1e999}}`,
		"too deep":             `{"op":"c","after":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`,
	} {
		_, err := Debezium.Delta([]byte("k"), []byte(event), nil)
		var refusal *delta.Refusal
		require.ErrorAs(t, err, &refusal, name)
		require.NotEmpty(t, refusal.Reason)
		require.Less(t, len(refusal.Reason), 300, name)
	}
	_, err := Debezium.Delta([]byte("k"), []byte(`{"op":"t"}`), nil)
	require.ErrorContains(t, err, "skipped.operations=t")
}

// A row is read as a record again with its header: then it is no event, whatever it looks like.
func TestDebeziumRowsAreNoEvents(t *testing.T) {
	d, err := Debezium.Delta([]byte("k"), []byte(`{"op":"c","after":{"op":"d"}}`), nil)
	require.NoError(t, err)
	s, _ := NewFolder(Debezium, 1<<10).Apply(State{}, d)
	require.Equal(t, `{"op":"d"}`, string(s.Value))
	headers := Debezium.RowHeaders(false, nil)
	op, _ := headers.Get(delta.HeaderOp)
	require.Equal(t, "put", string(op))
	d, err = Debezium.Delta([]byte("k"), s.Value, headers)
	require.NoError(t, err)
	again, why := NewFolder(Debezium, 1<<10).Apply(State{}, d)
	require.Zero(t, why)
	require.Equal(t, s, again)

	named := func(op string) batch.Headers {
		return batch.AppendHeaders(nil, batch.Header{Key: delta.HeaderOp, Value: []byte(op)})
	}
	for _, op := range []string{"merge", "add", "upsert"} {
		_, err = Debezium.Delta([]byte("k"), []byte(`1`), named(op))
		require.Error(t, err, op)
	}
	_, err = Debezium.Delta([]byte("k"), []byte(`{`), named("put"))
	require.Error(t, err)
	d, err = Debezium.Delta([]byte("k"), nil, named("delete"))
	require.NoError(t, err)
	require.Equal(t, delta.Delete, d.Op)
}

// Only the row counts against its limit, however large the event around it.
func TestSizeOfAnEvent(t *testing.T) {
	large := `"` + strings.Repeat("x", RowBytesMax) + `"`
	d, err := Debezium.Delta([]byte("k"), []byte(`{"op":"u","before":`+large+`,"after":{"a":1}}`), nil)
	require.NoError(t, err)
	require.Equal(t, `{"a":1}`, string(d.Value))
	_, err = Debezium.Delta([]byte("k"), []byte(`{"op":"u","after":`+large+`}`), nil)
	require.ErrorContains(t, err, "16777216")
	_, err = Debezium.Delta([]byte("k"), []byte(`{"op":"u","after":[`+strings.Repeat("1e20,", RowBytesMax/20)+`1]}`), nil)
	require.ErrorContains(t, err, "16777216", "canonical, it is too large")
	d, err = Debezium.Delta([]byte("k"), []byte(`{"op":"d","before":`+large+`}`), nil)
	require.NoError(t, err)
	require.Equal(t, delta.Delete, d.Op)
}

// What is taken is taken by an independent parser too, and becomes the same document; nothing panics, and the event stays as it was.
func FuzzDebezium(f *testing.F) {
	for _, seed := range []string{`{"op":"c","after":{"b":1.50,"a":"\u00e9"}}`, `{"schema":{},"payload":{"op":"d","after":null}}`, `{"op":"t"}`, `{"payload":null,"schema":1}`,
		`{"op":"u","after":1,"before":2`, `{"\u006fp":"r","after":[[]]}`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, event []byte) {
		before := string(event)
		d, err := Debezium.Delta([]byte("k"), event, nil)
		require.Equal(t, before, string(event))
		if err != nil {
			var refusal *delta.Refusal
			require.ErrorAs(t, err, &refusal)
			return
		}
		next, why := NewFolder(Debezium, RowBytesMax).Apply(State{}, d)
		require.Zero(t, why, "what is not refused is folded")
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(event, &members))
		if d.Op == delta.Delete {
			require.False(t, next.Exists)
			return
		}
		var after, row any
		if payload, ok := members["payload"]; ok && members["schema"] != nil {
			members = nil
			require.NoError(t, json.Unmarshal(payload, &members))
		}
		require.NoError(t, json.Unmarshal(members["after"], &after))
		require.NoError(t, json.Unmarshal(next.Value, &row))
		require.Equal(t, after, row)
		require.Equal(t, string(next.Value), canonical(t, string(next.Value)))
	})
}

func BenchmarkDebezium(b *testing.B) {
	for _, file := range []string{"testdata/debezium.json", "testdata/debezium-schema.json"} {
		event, err := os.ReadFile(file)
		require.NoError(b, err)
		b.Run(file, func(b *testing.B) {
			f := NewFolder(Debezium, RowBytesMax)
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			for b.Loop() {
				d, err := Debezium.Delta([]byte("k"), event, nil)
				if err != nil {
					b.Fatal(err)
				}
				f.Apply(State{}, d)
			}
		})
	}
}
