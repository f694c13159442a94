package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/proto/fold"
)

// values is the state of a topic.
func (n *node) values(t *testing.T, topic string) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, row := range lines(t, n.run(t, "", "state", "scan", topic, "--format", "jsonl")) {
		rows[row["key"].(string)] = row["value"].(string)
	}
	return rows
}

func requireStatus(t *testing.T, want int, err error) {
	t.Helper()
	var silent exitError
	require.ErrorAs(t, err, &silent)
	require.Equal(t, want, int(silent))
}

// A dump of lines becomes the topic's state: what differs is printed and written, and nothing else; done again it writes nothing.
func TestReconcile(t *testing.T) {
	n := startNode(t)
	t.Setenv("TMPDIR", t.TempDir())
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact", "--partitions", "2")
	n.run(t, "alice\tonline\nbob\taway\ncarol\tonline\n", "produce", "users")
	dump := "dave\tonline\nalice\tonline\nbob\tback\n"

	out, err := n.try(t, dump, "reconcile", "users", "--dry-run")
	requireStatus(t, 1, err)
	require.Contains(t, out, "~ bob (partition")
	require.Contains(t, out, "- carol (partition")
	require.Contains(t, out, "+ dave (partition")
	require.NotContains(t, out, "alice")
	require.Contains(t, out, "1 new, 1 gone, 1 changed; drifted")
	require.Equal(t, map[string]string{"alice": "online", "bob": "away", "carol": "online"}, n.values(t, "users"))

	out = n.run(t, dump, "reconcile", "users")
	require.Contains(t, out, "3 deltas written; equal")
	require.Equal(t, map[string]string{"alice": "online", "bob": "back", "dave": "online"}, n.values(t, "users"))

	path := filepath.Join(t.TempDir(), "users.txt")
	require.NoError(t, os.WriteFile(path, []byte(dump), 0o600))
	require.Contains(t, n.run(t, "", "reconcile", "users", path), "by digest: 0 new, 0 gone, 0 changed; 0 deltas written; equal")
	n.run(t, "", "reconcile", "users", path, "--dry-run")

	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left, "rows of a pipe are left behind")
}

// What state scan prints another topic becomes, bytes that are not UTF-8, empty values and tabs too; in a transaction as well.
func TestScanOutputIsReconcileInput(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "a", "--cleanup-policy", "compact")
	n.run(t, "", "topic", "create", "b", "--cleanup-policy", "compact", "--partitions", "2")
	n.run(t, `{"key_base64":"/w==","value_base64":"/v8="}
{"key":"tab\there","value":""}
{"key":"","value":"no key"}
{"key":"h","value":"v","headers":[{"key":"x","value":"y"}]}
`, "produce", "a", "--input", "jsonl")
	scanned := n.run(t, "", "state", "scan", "a", "--format", "jsonl")
	require.Len(t, lines(t, scanned), 4)
	require.Contains(t, n.run(t, scanned, "reconcile", "b", "--transactional-id", "copy"), "4 deltas written; equal")
	require.Contains(t, n.run(t, scanned, "reconcile", "b", "--json"), `"verdict":"equal"`)
	key := func(text string) (keys []any) {
		for _, row := range lines(t, text) {
			keys = append(keys, row["key"], row["key_base64"], row["value"], row["value_base64"])
		}
		return keys
	}
	require.ElementsMatch(t, key(scanned), key(n.run(t, "", "state", "scan", "b", "--format", "jsonl")))
}

func textLines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

// A dump is compared with the cut that was made before it was taken: what was written since is newer, and is left alone.
func TestReconcileAtAnEarlierCut(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "u", "--cleanup-policy", "compact")
	n.run(t, "a\t1\nb\t1\nc\t1\n", "produce", "u")
	said := textLines(n.run(t, "", "frames", "cut", "u", "--name")) // both streams: what was cut, for eyes, and the name
	require.Len(t, said, 2)
	cut := said[1]
	require.Contains(t, said[0], cut)
	dump := "a\t2\nb\t1\nc\t2\n"
	n.run(t, "a\t3\nc\t1\n", "produce", "u") // c as it was: by a delta that may be newer than the dump
	out, err := n.try(t, dump, "reconcile", "u", "--at", cut)
	requireStatus(t, 1, err)
	require.Contains(t, out, "? a  written since the cut: left alone")
	require.Contains(t, out, "? c  written since the cut: left alone")
	require.Equal(t, map[string]string{"a": "3", "b": "1", "c": "1"}, n.values(t, "u"))
	out = n.run(t, dump, "reconcile", "u")
	require.Contains(t, out, "2 deltas written; equal")
	require.Equal(t, map[string]string{"a": "2", "b": "1", "c": "2"}, n.values(t, "u"))
}

// Done again with the same cut it finds its own deltas, and says what a reconcile with another cut says of the same state: whether the topic is the dump now.
func TestReconcileAgainAtTheSameCut(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "u", "--cleanup-policy", "compact")
	n.run(t, "a\t1\nb\t1\nc\t1\n", "produce", "u")
	cut := textLines(n.run(t, "", "frames", "cut", "u", "--name"))[1]
	dump := "a\t1\nb\t2\nd\t1\n"
	require.Contains(t, n.run(t, dump, "reconcile", "u", "--at", cut), "1 new, 1 gone, 1 changed; 3 deltas written; equal")
	for _, args := range [][]string{nil, {"--at", cut}, {"--at", cut, "--transactional-id", "again"}, {"--at", cut, "--dry-run"}} {
		out := n.run(t, dump, append([]string{"reconcile", "u"}, args...)...)
		require.NotContains(t, out, "?")
		require.Contains(t, out, "0 new, 0 gone, 0 changed; ")
		require.Contains(t, out, "; equal")
	}
	require.Contains(t, n.run(t, dump, "verify", "u", "--at", cut), "0 new, 0 gone, 0 changed; equal")

	n.run(t, "b\t3\n", "produce", "u") // differed at the cut
	more := dump + "e\t1\n"
	for i, args := range [][]string{nil, nil, {"--transactional-id", "again"}, {"--dry-run"}} {
		out, err := n.try(t, more, append([]string{"reconcile", "u", "--at", cut}, args...)...)
		requireStatus(t, 1, err)
		require.Contains(t, out, "? b  written since the cut: left alone")
		require.NotContains(t, out, "? d")
		require.Contains(t, out, "1 left alone")
		require.Contains(t, out, "; drifted")
		require.Equal(t, i == 0, strings.Contains(out, "+ e"), out)
	}
	n.run(t, "a\t3\nb\t2\n", "produce", "u") // a is what it was in the dump, and was at the cut
	out, err := n.try(t, more, "reconcile", "u", "--at", cut)
	requireStatus(t, 1, err)
	require.Contains(t, out, "? a  written since the cut: left alone")
	require.Contains(t, out, "0 new, 0 gone, 0 changed, 1 left alone; 0 deltas written; drifted (1 key was written by others since the cut, and left alone)")
	n.run(t, "a\t1\n", "produce", "u")
	require.Contains(t, n.run(t, more, "reconcile", "u", "--at", cut), "; equal")
}

// What was written since the cut has the same verdict, and the same keys named, whether it is verified, run dry or reconciled: also keys that were
// equal at the cut, whether anything else differed there or not. Equal is only what the topic is now.
func TestTheSameVerdictAtAnEarlierCut(t *testing.T) {
	n := startNode(t)
	for name, x := range map[string]struct {
		since, dump string
		moved       []string // none: equal
	}{
		"made the dump's, and one that was":  {"a\t9\nb\t3\n", "a\t1\nb\t3\n", []string{"a"}},
		"equal at the cut":                   {"a\t9\n", "a\t1\nb\t2\n", []string{"a"}},
		"equal at the cut, and one more now": {"c\t1\n", "a\t1\nb\t2\n", []string{"c"}},
		"differed":                           {"a\t9\n", "a\t8\nb\t2\n", []string{"a"}},
		"differed, and was equal":            {"a\t9\nb\t9\n", "a\t8\nb\t2\n", []string{"a", "b"}},
		"made the dump's":                    {"b\t3\n", "a\t1\nb\t3\n", nil},
		"written as it was":                  {"a\t1\nb\t9\nb\t2\n", "a\t1\nb\t2\n", nil},
		"nothing":                            {"", "a\t1\nb\t2\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			topic := strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(name)
			n.run(t, "", "topic", "create", topic, "--cleanup-policy", "compact", "--partitions", "3")
			n.run(t, "a\t1\nb\t2\n", "produce", topic)
			cut := textLines(n.run(t, "", "frames", "cut", topic, "--name"))[1]
			if x.since != "" {
				n.run(t, x.since, "produce", topic)
			}
			before := n.values(t, topic)
			for _, args := range [][]string{{"verify", topic}, {"reconcile", topic, "--dry-run"}, {"reconcile", topic}} {
				args = append(args, "--at", cut)
				out, err := n.try(t, x.dump, args...)
				if x.moved == nil {
					require.NoError(t, err, out)
					require.Contains(t, out, "; equal; ", args)
				} else {
					requireStatus(t, 1, err)
					require.Contains(t, out, fmt.Sprintf("0 new, 0 gone, 0 changed, %d left alone; ", len(x.moved)), args)
					require.Contains(t, out, "; drifted (", args)
				}
				require.Equal(t, len(x.moved), strings.Count(out, "? "), out)
				for _, key := range x.moved {
					require.Regexp(t, `(?m)^\? `+key+` \(partition \d\)  written since the cut: left alone$`, out)
				}
			}
			require.Equal(t, before, n.values(t, topic))
		})
	}
}

// noise is so much text that no compression makes smaller by more than half.
func noise(bytes int) string {
	random := make([]byte, bytes/2)
	rand.Read(random)
	return hex.EncodeToString(random)
}

// Any row is written that the topic takes, however large, and any number of them however small its batches are; one that it does not take is named before
// any is written, with what would help.
func TestReconcileOfRowsThatNeedLargeOrSmallBatches(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "u", "--cleanup-policy", "compact", "--partitions", "2", "--topic-config", "max.message.bytes=300") // less than franz-go's least
	var few strings.Builder
	for i := range 200 {
		fmt.Fprintf(&few, "key %d\t%s\n", i, noise(40))
	}
	n.run(t, few.String(), "produce", "u")
	dump := strings.ReplaceAll(few.String(), "key", "other")
	require.Contains(t, n.run(t, dump, "reconcile", "u"), "200 new, 200 gone, 0 changed; 400 deltas written; equal")

	n.run(t, "", "topic", "alter", "u", "--topic-config", "max.message.bytes=600")
	dump += "packed\t" + strings.Repeat("x", 2000) + "\n" // which a batch of 600 bytes has room for, compressed
	require.Contains(t, n.run(t, dump, "reconcile", "u"), "1 delta written; equal")
	dump = strings.ReplaceAll(dump, "other", "next")
	dump = strings.ReplaceAll(dump, "xx", "yy")
	require.Contains(t, n.run(t, dump, "reconcile", "u", "--transactional-id", "copy"), "401 deltas written; equal")

	dump += "large\t" + noise(3_000_000) + "\nsmaller\t" + noise(5000) + "\n"
	out, err := n.try(t, dump, "reconcile", "u")
	require.ErrorContains(t, err, `2 rows too large: that of key "large" takes a batch of 3000`)
	require.ErrorContains(t, err, ", the topic admits 600 (max.message.bytes)\n  Nothing was written. keyframe topic alter u --topic-config max.message.bytes=3000")
	require.Contains(t, out, "2 new, 0 gone, 0 changed; inconclusive (nothing was written)")
	_, helps, _ := strings.Cut(err.Error(), "--topic-config ")
	helps, _, _ = strings.Cut(helps, " ")
	n.run(t, "", "topic", "alter", "u", "--topic-config", helps)
	require.Contains(t, n.run(t, dump, "reconcile", "u"), "2 deltas written; equal")
	n.run(t, "large\t"+noise(3_000_000)+"\n", "produce", "u") // so does produce

	n.run(t, "", "topic", "create", "plain", "--cleanup-policy", "compact", "--topic-config", "max.message.bytes=600", "--topic-config", "compression.type=uncompressed")
	_, err = n.try(t, few.String()+"packed\t"+strings.Repeat("x", 2000)+"\n", "reconcile", "plain")
	require.ErrorContains(t, err, `1 row too large: that of key "packed"`)
}

// A row is refused before anything is written where the broker would refuse its delta, to the byte.
func TestReconcileOfTheLargestRow(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "u", "--cleanup-policy", "compact")
	dump := func(bytes int) string { return "small\t1\nk\t" + strings.Repeat("x", bytes-len("k")) + "\n" }
	const room = 20 // for a header that names the op
	_, err := n.try(t, dump(fold.RowBytesMax-room+1), "reconcile", "u")
	require.ErrorContains(t, err, "16777216")
	require.Contains(t, n.run(t, dump(fold.RowBytesMax-room), "reconcile", "u"), "2 new, 0 gone, 0 changed; 2 deltas written; equal")
	n.run(t, dump(fold.RowBytesMax-room), "produce", "u") // which refuses a row as well, before it is sent
}

// A broker that does not acknowledge, or does not answer, is given up; what differs is printed by then.
func TestReconcileOfABrokerThatFallsSilent(t *testing.T) {
	n, p := startBehindProxy(t)
	n.run(t, "", "topic", "create", "u", "--cleanup-policy", "compact")
	p.withhold(kmsg.Produce)
	const far = "+ a  "
	after, out, err := n.givenUp(t, "a\t1\n", far, "reconcile", "u")
	require.ErrorContains(t, err, "nothing came of the broker for "+after+": it does not answer, or cannot write")
	require.Contains(t, out, far)
	require.Contains(t, out, "1 new, 0 gone, 0 changed; 0 deltas written; inconclusive (not all of it was written: do it again)")

	p.withhold(nothingWithheld)
	over := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	defer silent.Close()
	defer close(over)
	n.state = silent.URL
	for _, args := range [][]string{nil, {"--dry-run"}} {
		_, err = n.try(t, "a\t1\n", append([]string{"reconcile", "u", "--timeout", "300ms"}, args...)...)
		require.ErrorContains(t, err, "nothing came of the broker for 300ms")
	}
	_, err = n.try(t, "a\t1\n", "reconcile", "u", "--timeout", "0s")
	require.ErrorContains(t, err, "--timeout")
}

// What was written and could not be compared is trouble, and no difference.
func TestReconcileThatCannotBeCompared(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "u", "--cleanup-policy", "compact")
	to, err := url.Parse(n.state)
	require.NoError(t, err)
	plane, cuts := httputil.NewSingleHostReverseProxy(to), 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/Cut") {
			cuts++
		}
		if cuts > 2 { // where it compares, whether it still is so, and after the write
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		plane.ServeHTTP(w, r)
	}))
	defer front.Close()
	direct := n.state
	n.state = front.URL
	out, err := n.try(t, "a\t1\n", "reconcile", "u")
	requireStatus(t, 2, err)
	require.Contains(t, out, "1 delta written; inconclusive (the topic could not be compared once more")
	n.state = direct
	require.Equal(t, map[string]string{"a": "1"}, n.values(t, "u"))
}

// onText calls a function once a text was written.
type onText struct {
	lockedBuffer
	text string
	do   func()
}

func (o *onText) Write(p []byte) (int, error) {
	n, err := o.lockedBuffer.Write(p)
	if strings.Contains(string(p), o.text) {
		o.do()
	}
	return n, err
}

// It says that it waits for a transaction, since when and where; who ends it then is told what differs.
func TestReconcileInterruptedBesideAnOpenTransaction(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "u", "--cleanup-policy", "compact", "--partitions", "2")
	other, err := kgo.NewClient(kgo.SeedBrokers(n.kafka), kgo.TransactionalID("other"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, other.BeginTransaction())
	require.NoError(t, other.ProduceSync(t.Context(), &kgo.Record{Topic: "u", Partition: 1, Key: []byte("a"), Value: []byte("1")}).FirstErr())

	ctx, interrupt := context.WithCancel(t.Context())
	out := &onText{text: "a transaction is open", do: interrupt}
	root := newRootCommand()
	root.SetIn(strings.NewReader("a\t2\nb\t2\n"))
	root.SetOut(out)
	root.SetErr(out)
	root.SetArgs([]string{"reconcile", "u", "--brokers", n.kafka, "--state-url", n.state})
	require.ErrorIs(t, root.ExecuteContext(ctx), context.Canceled)
	require.Regexp(t, `partition=1 since=\S+ transactional_id=other`, out.String())
	require.Contains(t, out.String(), "+ a (partition")
	require.Contains(t, out.String(), "2 new, 0 gone, 0 changed; inconclusive (nothing was written)")
}

// What is no whole dump of one state is refused, named, and nothing is written.
func TestReconcileRefuses(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "u", "--cleanup-policy", "compact")
	n.run(t, "", "topic", "create", "docs", "--fold", "json-merge-patch")
	n.run(t, "a\t1\nb\t1\n", "produce", "u")
	n.run(t, "a\t{}\n", "produce", "docs")
	foreign := textLines(n.run(t, "", "frames", "cut", "docs", "--name"))[1]
	for name, x := range map[string]struct {
		topic, dump string
		args        []string
		want        string
	}{
		"empty":        {"u", "", nil, "--allow-empty"},
		"torn line":    {"u", "a\t1\nb\tba", nil, "line 2: it does not end"},
		"no separator": {"u", "a\t1\nb\n", nil, "line 2:"},
		"a broken object": {"u", `{"key":"a","value":"1"` + "\n" + `{"key":"b","value":"1"}` + "\n", nil,
			`line 1: "{\"key\":\"a\",\"value\":\"1\"" begins as a JSON object and is no row: `},
		"an object without a key": {"u", `  {"value":"1"}` + "\n", nil, `is no row: a row needs a "key"`},
		"text like an object":     {"u", "{a\n", []string{"--input", "text"}, `has no separator "\t"`},
		"torn object":             {"u", "{\"key\":\"a\",\"value\":\"2\"}\n{\"key\":\"b\",\"val", nil, "line 2:"},
		"twice":                   {"u", "a\t1\nb\t2\na\t1\n", nil, `"a" twice`},
		"tombstone":               {"u", `{"key":"a","value":null}` + "\n", []string{"--input", "jsonl"}, "line 1:"},
		"a delta":                 {"u", `{"key":"a","op":"add","value":"1"}` + "\n", nil, "line 1:"},
		"no document":             {"docs", "a\t{}\nb\t{\n", nil, "row 2"},
		"no such input":           {"u", "a\t1\n", []string{"--input", "csv"}, "--input"},
		"no frame":                {"u", "a\t1\n", []string{"--at", "0:1"}, "frames cut u"},
		"another topic's cut": {"u", "a\t1\n", []string{"--at", foreign}, "there is no such cut: " + foreign +
			" of u: it is of another topic, or one of its key frames is not kept any more\n  keyframe frames list u shows"},
		"no topic": {"nope", "a\t1\n", nil, "topic"},
		"no file":  {"u", "", []string{filepath.Join(t.TempDir(), "nope")}, "nope"},
	} {
		_, err := n.try(t, x.dump, append([]string{"reconcile", x.topic}, x.args...)...)
		require.ErrorContains(t, err, x.want, name)
		require.NotContains(t, err.Error(), "configs of")
		_, err = n.try(t, x.dump, append([]string{"reconcile", x.topic, "--dry-run"}, x.args...)...)
		if name != "empty" {
			require.ErrorContains(t, err, x.want, name)
		}
	}
	require.Equal(t, map[string]string{"a": "1", "b": "1"}, n.values(t, "u"))
	require.Equal(t, map[string]string{"a": "{}"}, n.values(t, "docs"))
	require.Contains(t, n.run(t, "", "reconcile", "u", "--allow-empty"), "2 gone")
	require.Empty(t, n.values(t, "u"))
}

// verify compares a dump and writes nothing: by digest first, then by difference, in the words of diff.
func TestVerifyDump(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "alice\tonline\nbob\taway\ncarol\tonline\n", "produce", "users")
	require.Contains(t, n.run(t, "carol\tonline\nbob\taway\nalice\tonline\n", "verify", "users"), "3 rows, by digest: 0 new, 0 gone, 0 changed; equal")
	out, err := n.try(t, "alice\tonline\nbob\tback\ndave\tonline\n", "verify", "users")
	requireStatus(t, 1, err)
	require.Equal(t, `--- standard input
+++ users at 0:3
~ bob  fae37f0e3ec8ebc8 -> 93cfb2b2ea0178fe
+ carol  bf6e82296573fcd5
- dave  8d723ab01a1765d8
`, out[:strings.Index(out, "3 rows")])
	out, err = n.try(t, "alice\tonline\n", "verify", "users", "--json")
	requireStatus(t, 1, err)
	require.Contains(t, out, `"verdict":"drifted"`)
	_, err = n.try(t, "alice", "verify", "users")
	require.ErrorContains(t, err, "line 1:")
	_, err = n.try(t, "", "verify", "users", "--dir", t.TempDir(), "--at", "0:3")
	require.ErrorContains(t, err, "both named")
	require.Len(t, n.values(t, "users"), 3)
	cut := strings.TrimSuffix(strings.Fields(n.run(t, "", "frames", "cut", "users"))[1], ",")
	n.run(t, "bob\tonline\n", "produce", "users")
	out, err = n.try(t, "alice\tonline\nbob\tback\ncarol\tonline\n", "verify", "users", "--at", cut)
	requireStatus(t, 1, err) // bob may be newer than the dump, and nothing else differs
	require.Contains(t, out, "0 new, 0 gone, 0 changed, 1 left alone; drifted (1 key was written by others since the cut, and left alone)")
	out, err = n.try(t, "alice\tonline\nbob\tback\n", "verify", "users", "--at", cut)
	requireStatus(t, 1, err)
	require.Contains(t, out, "1 new, 0 gone, 0 changed, 1 left alone; drifted")
	out, err = n.try(t, "", "verify", "users", "-") // an empty dump is one that differs in every row
	requireStatus(t, 1, err)
	require.Contains(t, out, "3 new")
}
