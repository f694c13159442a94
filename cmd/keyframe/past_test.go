package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/state"
)

var updatePast = flag.Bool("update-past", false, "write the golden files of diff and history anew")

// transcript runs command lines and notes what each prints and how it ends.
func (n *node) transcript(t *testing.T, commands ...string) string {
	t.Helper()
	var text strings.Builder
	for _, line := range commands {
		out, err := n.try(t, "", strings.Fields(line)...)
		status := 0
		var silent exitError
		switch {
		case errors.As(err, &silent):
			status = int(silent)
		case err != nil:
			cmd, _, findErr := newRootCommand().Find(strings.Fields(line))
			require.NoError(t, findErr)
			status = failureStatus(cmd)
			out += "keyframe: " + explain(err) + "\n"
		}
		fmt.Fprintf(&text, "$ keyframe %s\n%s", line, strings.ReplaceAll(out, "\x1b", "ESC"))
		if status != 0 {
			fmt.Fprintf(&text, "[%d]\n", status)
		}
		text.WriteString("\n")
	}
	return text.String()
}

func requireGolden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *updatePast {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// pastNode has a topic of one partition with counters, and one of two partitions.
func pastNode(t *testing.T) *node {
	n := startNode(t)
	n.run(t, "", "topic", "create", "stock", "--fold", "counter")
	line := func(key, value string, second int) string {
		return fmt.Sprintf("{\"key\":%q,\"value\":%s,\"timestamp\":%d}\n", key, value, 1_700_000_000_000+second*1000)
	}
	n.run(t, line("apples", `"3"`, 0)+line("pears", `"5"`, 1)+line("plums", `"9223372036854775807"`, 2), "produce", "stock", "--input", "jsonl")
	n.run(t, line("apples", `"-1"`, 3)+line("pears", "null", 4)+line("plums", `"1"`, 5)+line("figs", `"2"`, 6)+line("apples", `"1"`, 7),
		"produce", "stock", "--input", "jsonl")
	n.run(t, "", "topic", "create", "two", "--cleanup-policy", "compact", "--partitions", "2")
	put := func(partition int, key, value string) string {
		encoded, err := json.Marshal(value)
		require.NoError(t, err)
		return fmt.Sprintf("{\"key\":%q,\"value\":%s,\"partition\":%d,\"timestamp\":1700000000000}\n", key, encoded, partition)
	}
	n.run(t, put(0, "a", "1")+put(1, "b", "1")+put(0, "c", "short")+put(1, "esc", "\x1b[31m")+put(0, "empty", ""), "produce", "two", "--input", "jsonl")
	n.run(t, put(1, "a", "2")+put(1, "b", "2")+put(0, "c", strings.Repeat("long ", 20)+"end")+`{"key_base64":"/w==","value_base64":"/v8=","partition":0,"timestamp":1700000000001}`+"\n",
		"produce", "two", "--input", "jsonl")
	return n
}

// What diff prints, in every format, and its exit status.
func TestDiffOutput(t *testing.T) {
	n := pastNode(t)
	requireGolden(t, "diff.golden", n.transcript(t,
		"diff stock --from 3",
		"diff stock --from 3 --to 5",
		"diff stock --from 8 --to 3 --prefix p",
		"diff stock --from 0:3 --to 0:8 --limit 1",
		"diff stock --from 3 --json",
		"diff stock --from 3 --to 4 --format json",
		"diff stock --from 4 --to 4",
		"diff stock --from 4 --to 4 --format json",
		"diff two --from 0:0,1:0 --to 0:3,1:2",
		"diff two --from 0:3,1:2",
	))
}

// What history prints, in every format, and its exit status.
func TestHistoryOutput(t *testing.T) {
	n := pastNode(t)
	requireGolden(t, "history.golden", n.transcript(t,
		"history stock apples",
		"history stock apples --from 3",
		"history stock pears",
		"history stock plums",
		"history stock plums --json",
		"history stock pears --from 1 --to 5 --format json",
		"history two a",
		"history two empty --json",
		"history two esc --partition 1",
		"history stock nothing",
	))
}

// Points that cannot be, or cannot be read, are refused with what can be, and diff ends with status 2 then: 1 says that something differs.
func TestErrorsOfThePast(t *testing.T) {
	n := pastNode(t)
	for line, want := range map[string]string{
		"diff stock":                                    "--from is missing",
		"diff stock --from yesterday":                   `--from "yesterday": write an offset`,
		"diff stock --from 1 --to -4":                   `--to "-4": offsets begin at 0`,
		"diff stock --from 1 --limit -1":                "--limit -1",
		"diff stock --from 1 --partition -2":            "--partition -2",
		"diff stock --from 99":                          "from offset 0 to 8: keyframe frames list stock",
		"diff two --from 1":                             "0:5,1:4",
		"diff nope --from 1":                            "keyframe topic list",
		"diff stock --from 1 --format xml":              "table, json or jsonl",
		"diff stock --from cut-1700000000000-1":         "cut",
		"history stock apples --from 5 --to 3":          "--from 5 --to 3: from lies behind to: in partition 0 it is offset 5, and to 3",
		"diff stock --from 2999-01-01T00:00:00Z":        "the time 2999-01-01T00:00:00Z is yet to come",
		"history stock apples --to yesterday":           `--to "yesterday"`,
		"history stock apples --from 9":                 "from offset 0 to 8",
		"history stock":                                 "KEY is missing",
		"state get stock apples --at 12":                "keyframe state scan stock --partition 0 --at 0",
		"state scan two --at 3":                         "keyframe frames cut two",
		"state export stock --at 1970-01-01T00:00:00+x": "write an offset",
	} {
		out, err := n.try(t, "", strings.Fields(line)...)
		require.ErrorContains(t, err, want, line)
		require.NotErrorAs(t, err, new(exitError), line)
		require.NotContains(t, out, "---", line)
	}
	root := newRootCommand()
	for line, want := range map[string]int{"diff": 2, "history": 2, "state history": 2, "state diff": 2, "state get": 2, "state scan": 1} {
		cmd, _, err := root.Find(strings.Fields(line))
		require.NoError(t, err)
		require.Equal(t, want, failureStatus(cmd), line)
	}
}

// A cut's name and a time are points of every command that reads the past.
func TestPointsOfThePast(t *testing.T) {
	n := pastNode(t)
	cut := strings.TrimSuffix(strings.Fields(n.run(t, "", "frames", "cut", "stock"))[1], ",")
	n.run(t, "figs\t40\n", "produce", "stock")
	out, err := n.try(t, "", "diff", "stock", "--from", cut)
	require.Equal(t, exitError(1), err)
	require.Contains(t, out, "~ figs  2 -> 42")
	out, err = n.try(t, "", "diff", "stock", "--from", "2001-01-01T00:00:00Z", "--to", cut, "--json")
	require.Equal(t, exitError(1), err)
	require.Len(t, lines(t, out), 3)
	out = n.run(t, "", "history", "stock", "figs", "--from", cut, "--json")
	require.Len(t, lines(t, out), 2)
	require.Contains(t, out, `"op":"add","delta":"40","value":"42"`)
}

// On a terminal each kind of difference has a colour of its own, and what it says is the same.
func TestDiffColours(t *testing.T) {
	var plain, coloured strings.Builder
	for out, colour := range map[*strings.Builder]bool{&plain: false, &coloured: true} {
		p := &diffPrinter{topic: "t", text: &markedText{bufio.NewWriter(out), colour}}
		row := func(value string) *state.Row { return &state.Row{Value: []byte(value)} }
		for _, r := range []*state.DiffRow{{Key: []byte("a"), After: row("1")}, {Key: []byte("b"), Before: row("1")}, {Key: []byte("c"), Before: row("1"), After: row("2")}} {
			require.NoError(t, p.row(r))
		}
		require.NoError(t, p.close())
	}
	require.NotContains(t, plain.String(), "\x1b")
	require.Contains(t, coloured.String(), "\x1b[32m+ a  1\x1b[0m\n\x1b[31m- b  1\x1b[0m\n\x1b[33m~ c  1 -> 2\x1b[0m\n")
	require.Equal(t, plain.String(), regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(coloured.String(), ""))
	require.False(t, isTerminal(&plain))
}
