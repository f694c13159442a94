package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A bad time is found before the line is in a batch with good ones.
func TestABadTimestampHarmsItsLineAlone(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	out, err := n.try(t, `{"key":"g1","value":"1"}
{"key":"g2","timestamp":99999999999999}
{"key":"g3","value":"3"}
`, "produce", "t", "--input", "jsonl")
	require.ErrorContains(t, err, "1 line(s)")
	require.Contains(t, out, "line 2: timestamp 99999999999999")
	require.Contains(t, out, "2 record(s) produced")
	require.Len(t, lines(t, n.run(t, "", "consume", "t", "--exit", "--format", "jsonl")), 2)
}

func TestManyRefusedLinesAreCounted(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "c", "--fold", "counter")
	out, err := n.try(t, strings.Repeat("k\tmany\n", 25)+"k\t1\n", "produce", "c")
	require.ErrorContains(t, err, "25 line(s)")
	require.Equal(t, maxShownFailures, strings.Count(out, "\nline ")+strings.Count(out[:5], "line "))
	require.Contains(t, out, "and 15 more\n")
	require.Contains(t, out, "1 record(s) produced")
}

func TestProduceToNoTopic(t *testing.T) {
	n := startNode(t)
	_, err := n.try(t, "", "produce", "nope")
	require.ErrorContains(t, err, "produce to topic nope")
}

// A line ends with a newline; everything else of it is data.
func TestCarriageReturnsAreData(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	n.run(t, "k\ta\r\n\tb\r", "produce", "t")
	rows := lines(t, n.run(t, "", "consume", "t", "--exit", "--format", "jsonl"))
	require.Equal(t, "a\r", rows[0]["value"])
	require.Equal(t, "b\r", rows[1]["value"])
}

// A broker that takes no records ends the command with a word, whatever times the records have.
func TestProduceGivesUp(t *testing.T) {
	n, p := startBehindProxy(t)
	n.run(t, "", "topic", "create", "t")
	p.withhold(kmsg.Produce)
	out, err := n.try(t, "a\nb\n", "produce", "t", "--timeout", "300ms")
	require.ErrorContains(t, err, "2 line(s) were not acknowledged")
	require.Contains(t, out, "nothing was acknowledged for 300ms")
	require.Contains(t, out, "0 record(s) produced")

	n.run(t, "", "topic", "alter", "t", "--topic-config", "max.message.bytes=2000")
	out, err = n.try(t, "a\t"+strings.Repeat("x", 30_000)+"\nb\n", "produce", "t", "--timeout", "300ms")
	require.ErrorContains(t, err, "1 line(s) were not acknowledged", "what comes after was not read")
	require.Contains(t, out, "nothing was acknowledged for 300ms")
}

// Messages about JSON speak of the input's lines and fields.
func TestJSONLinesThatCannotBe(t *testing.T) {
	for line, want := range map[string]string{
		`{"key":"k","vlaue":"v"}`:                         `unknown field "vlaue": did you mean "value"?`,
		`{"key":"k","headers":[{"name":"h"}]}`:            `unknown field "name": there are key, value, value_base64`,
		`{"key":"k","headers":[{"key":"h","valeu":"x"}]}`: `did you mean "value"?`,
		`{"key":"k","value":{"a":1}}`:                     `field "value" must be a string (JSON inside it is written as a string, quotes escaped) or null, but is an object`,
		`{"key":5}`:                                       `field "key" must be a string`,
		`{"key":"k","partition":"x"}`:                     `field "partition" must be the number of a partition, but is a string`,
		`{"key":"k","partition":5000000000}`:              `field "partition" must be the number of a partition, but is 5000000000`,
		`{"key":"k","partition":-1}`:                      `partitions are numbered from 0`,
		`{"key":"k","timestamp":1.5}`:                     `field "timestamp" must be a whole number of milliseconds since 1970, but is 1.5`,
		`{"key":"k","headers":{"h":"x"}}`:                 `field "headers" must be a list`,
		`{"key":"k","headers":["h"]}`:                     `field "headers[0]" must be an object {"key", "value"}, but is a string`,
		`{"key":"k","headers":[{"key":"h","value":1}]}`:   `field "headers[0].value" must be a string`,
		`["k"]`:                        "a line must be one JSON object",
		`{"key":"k"`:                   "no valid JSON, at byte 11",
		`{"key":"k","key":"l"}`:        "no valid JSON",
		`{"key":"k"} x`:                "no valid JSON, at byte 13",
		`{"key":"k","key_base64":"/"}`: "both given",
		`{"key_base64":"/"}`:           `field "key_base64" is no base64`,
		`{"key":"k","op":"set"}`:       "put, delete, merge or add",
	} {
		_, err := produceFlags{partition: -1}.parseJSON([]byte(line))
		require.ErrorContains(t, err, want, line)
		for _, word := range []string{"Go ", "main.", "int32", "unmarshal"} {
			require.NotContains(t, err.Error(), word, line)
		}
	}
}

func TestTheNumberOfTheLineIsNamed(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	out, err := n.try(t, fmt.Sprintf("%s\n%s\n", `{"value":"1"}`, `{"vlaue":"2"}`), "produce", "t", "--input", "jsonl")
	require.Error(t, err)
	require.Contains(t, out, `line 2: unknown field "vlaue": did you mean "value"?`)
}

// A record that is larger than the topic admits is taken where it is small enough compressed, between its neighbours; one that is not is named.
func TestProduceOfRecordsThatCompress(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t", "--topic-config", "max.message.bytes=2000")
	packed := strings.Repeat("x", 30_000)
	text := "k\t1\nk\t" + packed + "\nk\t2\n"
	require.Contains(t, n.run(t, text, "produce", "t"), "3 record(s) produced")
	var values []any
	for _, line := range lines(t, n.run(t, "", "consume", "t", "--exit", "--format", "jsonl")) {
		values = append(values, line["value"])
	}
	require.Equal(t, []any{"1", packed, "2"}, values, "in their order")

	out, err := n.try(t, "k\t3\nk\t"+noise(20_000)+"\nk\t"+packed+"\nk\t4\n", "produce", "t")
	require.ErrorContains(t, err, "1 line(s)")
	require.Contains(t, out, "line 2: MESSAGE_TOO_LARGE")
	require.Contains(t, out, "3 record(s) produced")
}
