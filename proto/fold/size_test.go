package fold

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
)

// headersOf makes headers of n bytes with the operation, if one is given, among them.
func headersOf(t *testing.T, n int, op string) batch.Headers {
	t.Helper()
	var list []batch.Header
	if op != "" {
		list = append(list, batch.Header{Key: delta.HeaderOp, Value: []byte(op)})
	}
	empty := len(batch.AppendHeaders(nil, append(list, batch.Header{Key: "h", Value: make([]byte, n)})...)) - n
	h := batch.AppendHeaders(nil, append(list, batch.Header{Key: "h", Value: make([]byte, n-empty)})...)
	require.Len(t, h, n)
	return h
}

func TestRowTooLarge(t *testing.T) {
	const limit = 100
	key, state := []byte("12345"), State{true, []byte("1")}
	value := func(n int) []byte { return bytes.Repeat([]byte("1"), n) }
	for name, x := range map[string]struct {
		kind     Kind
		op       delta.Op
		value    []byte
		headers  batch.Headers
		tooLarge bool
	}{
		"value, with room for the operation": {LastValue, delta.Put, value(75), nil, false},
		"value":                              {LastValue, delta.Put, value(76), nil, true},
		"headers":                            {LastValue, delta.Put, value(35), headersOf(t, 40, ""), false},
		"one header byte more":               {LastValue, delta.Put, value(35), headersOf(t, 41, ""), true},
		"named operation":                    {LastValue, delta.Put, value(35), headersOf(t, 60, "put"), false},
		"named operation, one byte more":     {LastValue, delta.Put, value(35), headersOf(t, 61, "put"), true},
		"tombstone":                          {LastValue, delta.Delete, nil, headersOf(t, 75, ""), false},
		"tombstone with large headers":       {LastValue, delta.Delete, nil, headersOf(t, 76, ""), true},
		"sum":                                {Counter, delta.Add, value(1), headersOf(t, 74, ""), false},
		"sum with large headers":             {Counter, delta.Add, value(1), headersOf(t, 75, ""), true},
	} {
		got, why := NewFolder(x.kind, limit).Apply(state, delta.Delta{Op: x.op, Key: key, Value: x.value, Headers: x.headers})
		if x.tooLarge {
			require.Equal(t, RowTooLarge, why, name)
			require.Equal(t, state, got, name)
			continue
		}
		require.Zero(t, why, name)
	}
}

// What exceeds the limit alone is refused before it is in the log, and what the fold takes from an empty state is not.
func TestDeltaTooLarge(t *testing.T) {
	const room = RowBytesMax - opHeaderBytes
	one, large := []byte("1"), bytes.Repeat([]byte("a"), RowBytesMax)
	for name, x := range map[string]struct {
		kind       Kind
		key, value []byte
		headers    batch.Headers
		refused    bool
	}{
		"value":                   {LastValue, one, large[:room-1], nil, false},
		"value, one byte more":    {LastValue, one, large[:room], nil, true},
		"key":                     {LastValue, large[:room-1], one, nil, false},
		"key, one byte more":      {LastValue, large[:room], one, nil, true},
		"headers":                 {LastValue, one, one, headersOf(t, room-2, ""), false},
		"headers, one byte more":  {LastValue, one, one, headersOf(t, room-1, ""), true},
		"delete":                  {LastValue, one, nil, headersOf(t, RowBytesMax-1, "delete"), false},
		"delete, one byte more":   {LastValue, one, nil, headersOf(t, RowBytesMax, "delete"), true},
		"addition":                {Counter, one, one, headersOf(t, room-2, ""), false},
		"addition, one byte more": {Counter, one, one, headersOf(t, room-1, ""), true},
	} {
		d, err := x.kind.Delta(x.key, x.value, x.headers)
		if x.refused {
			var refusal *delta.Refusal
			require.ErrorAs(t, err, &refusal, name)
			require.Contains(t, refusal.Reason, "16777216", name)
			require.Less(t, len(refusal.Reason), 1000, name)
			continue
		}
		require.NoError(t, err, name)
		_, why := NewFolder(x.kind, RowBytesMax).Apply(State{}, d)
		require.Zero(t, why, name)
	}
}

// The row of a document has its canonical bytes, and those may be more or fewer than the producer's.
func TestPutOfADocumentThatGrows(t *testing.T) {
	key, put := []byte("k"), batch.AppendHeaders(nil, batch.Header{Key: delta.HeaderOp, Value: []byte("put")})
	array := func(number string, n int) []byte { return []byte("[" + strings.Repeat(number+",", n-1) + number + "]") }
	fits := (RowBytesMax - len(key) - len(put) - 1) / 22 // 1e20 has 21 digits, and a comma or a bracket follows
	for name, x := range map[string]struct {
		value   []byte
		refused bool
	}{
		"grows up to the limit":  {array("1e20", fits), false},
		"grows beyond the limit": {array("1e20", fits+1), true},
		"shrinks to the limit":   {array(`"\u0061" `, (RowBytesMax-100)/4), true}, // what is sent counts, too
		"shrinks":                {array(`1.000000`, RowBytesMax/10), false},
		"is no JSON":             {bytes.Repeat([]byte("["), RowBytesMax/2), true},
	} {
		d, err := JSONMergePatch.Delta(key, x.value, put)
		require.Equal(t, x.refused, err != nil, "%s: %v", name, err)
		if err == nil {
			_, why := NewFolder(JSONMergePatch, RowBytesMax).Apply(State{}, d)
			require.Zero(t, why, name)
		}
	}
}

func BenchmarkDelta(b *testing.B) {
	key, value := []byte("user-12345678"), bytes.Repeat([]byte("v"), 110)
	for name, headers := range map[string]batch.Headers{
		"no headers": nil,
		"headers":    batch.AppendHeaders(nil, batch.Header{Key: "trace", Value: []byte("0123456789abcdef")}, batch.Header{Key: delta.HeaderOp, Value: []byte("put")}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := LastValue.Delta(key, value, headers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
