package fold

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

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
		`5e-324`:                        `5e-324`,
		`-1.50`:                         `-1.5`,
		`-10e-1`:                        `-1`,
		`0e99999999999999999999`:        `0`,
		`0.10`:                          `0.1`,
		`-0.0`:                          `0`,
		`100`:                           `100`,
		`1000000000000000000000`:        `1e+21`,
		`999999999999999999999`:         `999999999999999999999`,
		`999999999999999999999.9`:       `999999999999999999999.9`,
		`[-0,"-0",{"1e2":1e2}]`:         `[0,"-0",{"1e2":100}]`,
		`"\\\"\b\f\n\r\t\u0001\u007f\u2028</script>"`: "\"\\\\\\\"\\b\\f\\n\\r\\t\\u0001\u007f\u2028</script>\"",
		// The sorting example of RFC 8785, section 3.2.3.
		`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`: "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}",
	} {
		require.Equal(t, want, canonical(t, in), "%s", in)
		require.Equal(t, want, canonical(t, want), "canonical bytes stay")
	}
}

func TestRefusedDocuments(t *testing.T) {
	for name, in := range map[string]string{
		"empty":             ``,
		"white space":       ` `,
		"duplicate member":  `{"a":1,"a":2}`,
		"deep duplicate":    `[{"a":{"b":1,"b":1}}]`,
		"bad UTF-8":         "\"\xff\"",
		"lone surrogate":    `"\ud800"`,
		"too large":         `1e400`,
		"too small":         `1e-400`,
		"endless exponent":  `1e99999999999999999999`,
		"endless and tiny":  `1e-99999999999999999999`,
		"infinite":          `9e308`,
		"just infinite":     `1.797693134862315808e308`,
		"nearest is zero":   `2e-324`,
		"number at depth":   `{"a":[{"b":-1e999}]}`,
		"leading zero":      `01`,
		"plus sign":         `+1`,
		"NaN":               `NaN`,
		"escaped twice":     `{"a":1,"\u0061":2}`,
		"raw control":       "\"\n\"",
		"byte order mark":   "\ufeff{}",
		"surrogate, alone":  `"\ude00\ud83d"`,
		"encoded surrogate": "\"\xed\xa0\x80\"",
		"two documents":     `1 2`,
		"trailing comma":    `{"a":1,}`,
		"too deep":          string(bytes.Repeat([]byte("["), maxDepth+1)) + string(bytes.Repeat([]byte("]"), maxDepth+1)),
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

// A number of many digits on either side of its exponent: how long it is does not decide whether it is in range.
func TestLongNumbers(t *testing.T) {
	zeros := strings.Repeat("0", 500)
	require.Equal(t, `1`, canonical(t, `1`+zeros+`e-500`))
	require.Equal(t, `1`, canonical(t, `0.`+zeros+`1e501`))
	require.Equal(t, `0`, canonical(t, `-0.`+zeros+`e400`))
	require.Equal(t, `1.`+zeros+`1`, canonical(t, `1.`+zeros+`10`))
	require.Error(t, checkJSON([]byte(`1`+zeros)))
	require.Error(t, checkJSON([]byte(`0.`+zeros+`1`)))
	require.NoError(t, checkJSON([]byte(`{"a":1`+zeros[:300]+`.5}`)))
}

// The canonical spelling has the exact value, and numbers that are equal have the same.
func TestNumbersAreExact(t *testing.T) {
	spelling := rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		in := spelling.Draw(t, "number")
		out := canonical(t, in)
		want, ok := new(big.Rat).SetString(in)
		require.True(t, ok)
		got, ok := new(big.Rat).SetString(out)
		require.True(t, ok)
		require.Zero(t, want.Cmp(got), "%s became %s", in, out)
		require.True(t, isCanonicalNumber([]byte(out)) || strings.Contains(out, "e"), "%s", out)
		require.Equal(t, out, canonical(t, out))

		shift := rapid.IntRange(-30, 30).Draw(t, "shift")
		other := fmt.Sprintf("%se%d", want.FloatString(60), 0)
		if scaled, ok := new(big.Rat).SetString(fmt.Sprintf("1e%d", shift)); ok {
			other = fmt.Sprintf("%se%d", new(big.Rat).Quo(want, scaled).FloatString(160), shift)
		}
		require.Equal(t, out, canonical(t, other))
	})
}

// Every number that a double can hold is admitted, at the far ends too, and beyond them none.
func TestRangeIsThatOfDoubles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := fmt.Sprintf("%d.%de%d", rapid.IntRange(1, 9).Draw(t, "whole"), rapid.IntRange(0, 1<<50).Draw(t, "fraction"),
			rapid.SampledFrom([]int{-325, -324, -323, -322, 306, 307, 308, 309}).Draw(t, "exponent"))
		f, err := strconv.ParseFloat(in, 64)
		require.Equal(t, err == nil && f != 0, checkJSON([]byte(in)) == nil, "%s", in)
	})
}

// Whatever order members come in and however they are escaped, the bytes are the same.
func TestSpellingsOfOneDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		document := genJSON(3, true).Draw(t, "document")
		plain, err := json.Marshal(document) // escapes <, > and &, sorts by bytes
		require.NoError(t, err)
		var indented bytes.Buffer
		require.NoError(t, json.Indent(&indented, plain, " ", "\t"))
		require.Equal(t, canonical(t, string(plain)), canonical(t, indented.String()))

		// RFC 8785's own canonical form differs in numbers only, and there are but small ones here.
		want := jsontext.Value(plain)
		require.NoError(t, want.Canonicalize())
		require.Equal(t, string(want), canonical(t, string(plain)))
	})
}

const plainDocument = `{"id":123456789,"user":"alice-42","action":"login","amount":12.5,"tags":["a","b"],"note":"some words here"}`

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

func BenchmarkCanonical(b *testing.B) {
	for name, document := range map[string]string{
		"110 bytes": plainDocument,
		"hostile":   strings.Repeat(`{"b":1,"a":`, maxDepth-1) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat("}", maxDepth-1),
	} {
		b.Run(name, func(b *testing.B) {
			var c canonicaliser
			b.SetBytes(int64(len(document)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.canonical([]byte(document)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	key, value := []byte("k"), []byte(plainDocument)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := JSONMergePatch.Delta(key, value, nil); err != nil {
			b.Fatal(err)
		}
	}
}
