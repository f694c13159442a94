package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
)

// wrongly changes records on their way to a replica, by key: what it returns takes the place of the value, a nil key loses the record.
type wrongly func(r *kgo.Record)

func (w wrongly) OnFetchRecordBuffered(r *kgo.Record) { w(r) }

// mutated gives keys other values, and loses those whose value is "".
func mutated(values map[string]string) wrongly {
	return func(r *kgo.Record) {
		value, ok := values[string(r.Key)]
		switch {
		case ok && value == "":
			r.Key = nil // as if it had never come
		case ok:
			r.Value = []byte(value)
		}
	}
}

// copyTo keeps a copy of a topic in a directory, up to its end, as it comes through the hooks, and leaves it.
func (n *node) copyTo(t *testing.T, topic, dir string, hooks ...kgo.Hook) {
	t.Helper()
	r, err := client.OpenReplica(t.Context(), client.Config{
		Brokers: []string{n.kafka}, StateURL: n.state, Topic: topic, From: client.FromEarliest, Store: client.Dir(dir), OnDrift: client.Report,
		KafkaOptions: []kgo.Opt{kgo.WithHooks(hooks...)},
	})
	require.NoError(t, err)
	kafka, err := kgo.NewClient(kgo.SeedBrokers(n.kafka))
	require.NoError(t, err)
	defer kafka.Close()
	ends, err := kadm.NewClient(kafka).ListEndOffsets(t.Context(), topic)
	require.NoError(t, err)
	ends.Each(func(o kadm.ListedOffset) { require.NoError(t, r.WaitFor(t.Context(), o.Partition, o.Offset)) })
	require.NoError(t, r.Close())
}

// contentsOf is every file of a directory.
func contentsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	}))
	return files
}

func statusOf(err error) int {
	var silent exitError
	switch {
	case errors.As(err, &silent):
		return int(silent)
	case err != nil:
		return 2
	}
	return 0
}

// What a user sees of a copy in a directory that is equal, that differs, that the log has gone on from, and of what is no such directory.
func TestVerifyOutput(t *testing.T) {
	n := startNode(t)
	base := t.TempDir() + "/"
	require.NoError(t, os.Mkdir(base+"empty", 0o755))
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "", "topic", "create", "plain")
	n.run(t, "", "topic", "create", "stock", "--fold", "counter")
	n.run(t, "alice\tonline\nbob\taway\ncarol\taway\n", "produce", "users")
	n.copyTo(t, "users", base+"copy")
	text := n.transcript(t, "verify users --dir "+base+"copy", "verify users --dir "+base+"copy --json", "repair users --dir "+base+"copy --dry-run")

	n.run(t, "erin\tonline\nfay\taway\n\x00bob\taway\n", "produce", "users")
	n.copyTo(t, "users", base+"copy", mutated(map[string]string{"erin": "", "fay": "online"}))
	n.run(t, "fay\tgone\ndan\taway\n", "produce", "users")
	n.run(t, "", "frames", "cut", "users")
	n.run(t, "figs\t5\nfigs\t1\nnuts\t3\n", "produce", "stock")
	n.copyTo(t, "stock", base+"stock", wrongly(func(r *kgo.Record) {
		if string(r.Value) == "1" {
			r.Value = []byte("2") // as if it had been folded twice
		}
	}))
	n.run(t, "figs\t1\n", "produce", "stock")
	held, err := client.OpenReplica(t.Context(), client.Config{Brokers: []string{n.kafka}, StateURL: n.state, Topic: "users", Store: client.Dir(base + "held")})
	require.NoError(t, err)
	text += n.transcript(t, "verify users --dir "+base+"copy", "verify users --dir "+base+"copy --json", "repair users --dir "+base+"copy --dry-run", "repair users --dir "+base+"copy --dry-run --json",
		"verify stock --dir "+base+"stock", "verify users", "repair users", "verify users --dir "+base+"missing", "repair users --dir "+base+"missing", "verify users --dir "+base+"empty",
		"repair users --dir "+base+"empty", "verify stock --dir "+base+"copy", "repair stock --dir "+base+"copy", "verify nobody --dir "+base+"copy", "verify users --dir "+base+"held",
		"repair users --dir "+base+"held", "repair users --dir "+base+"copy --timeout 0s", "verify users --dir "+base+"copy --format yaml")
	require.NoError(t, held.Close())
	require.NoDirExists(t, base+"missing")
	left, err := os.ReadDir(base + "empty")
	require.NoError(t, err)
	require.Empty(t, left)
	for what, is := range map[string]string{base: "", strconv.Itoa(os.Getpid()): "PID", "resource temporarily unavailable": "WHY", "lock held by current process": "WHY"} {
		text = strings.ReplaceAll(text, what, is)
	}
	text = regexp.MustCompile(`(whole key frame has |"frame_bytes":)[2-3]\d\d\b`).ReplaceAllString(text, "${1}SIZE") // of times in it as well
	requireGolden(t, "verify.golden", text)
}

// A copy that is wrong in any way is verified, which changes nothing in it, then looked at by a dry run, which does not either, then repaired, and is
// equal.
func TestRepairDir(t *testing.T) {
	values := func(m map[string]string) wrongly { return mutated(m) }
	for name, c := range map[string]struct {
		fold   string
		deltas string
		wrong  wrongly
		later  string
		keys   []string // that verify prints
		mended []string // that repair prints
	}{
		"another value": {"last-value", "alice\t1\nbob\t1\n", values(map[string]string{"bob": "2"}), "", []string{"~ bob"}, []string{"~ bob"}},
		"a key lost":    {"last-value", "alice\t1\nbob\t1\n", values(map[string]string{"bob": ""}), "carol\t1\n", []string{"+ bob"}, []string{"+ bob"}},
		"a key too many": {"last-value", "alice\t1\nbob\t1\n", func(r *kgo.Record) {
			if string(r.Key) == "bob" {
				r.Key = []byte("zoe")
			}
		}, "carol\t1\n", []string{"+ bob", "- zoe"}, []string{"+ bob", "- zoe"}},
		"a key that the log has written since": {"last-value", "alice\t1\nbob\t1\n", values(map[string]string{"bob": "2", "alice": "3"}), "bob\t4\n",
			[]string{"~ alice", "~ bob"}, []string{"~ alice"}},
		"a counter": {"counter", "alice\t1\nbob\t1\n", values(map[string]string{"bob": "2"}), "bob\t4\nalice\t1\n", []string{"~ bob"}, []string{"~ bob"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := startNode(t)
			dir := filepath.Join(t.TempDir(), "replica")
			n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact", "--fold", c.fold)
			n.run(t, c.deltas, "produce", "users")
			n.copyTo(t, "users", dir, c.wrong)
			if c.later != "" {
				n.run(t, c.later, "produce", "users")
				n.run(t, "", "frames", "cut", "users")
			}
			before := contentsOf(t, dir)
			for _, args := range [][]string{{"verify", "users"}, {"repair", "users", "--dry-run"}} {
				out, err := n.try(t, "", append(args, "--dir", dir)...)
				require.Equal(t, 1, statusOf(err), out)
				require.Equal(t, c.keys, keysPrinted(out), out)
				require.Equal(t, before, contentsOf(t, dir), "nothing is changed")
			}
			out := n.run(t, "", "repair", "users", "--dir", dir)
			require.Equal(t, c.mended, keysPrinted(out), out)
			require.Regexp(t, `repaired, logical drift: \d keys? by (sketch|tags)`, out)
			require.Contains(t, n.run(t, "", "verify", "users", "--dir", dir), ": equal, ")
			require.Empty(t, keysPrinted(n.run(t, "", "repair", "users", "--dir", dir)), "there is nothing left to repair")
		})
	}
}

// keysPrinted are the keys that were printed, with their marks.
func keysPrinted(out string) (keys []string) {
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 2 && strings.Contains("+-~", fields[0]) {
			keys = append(keys, fields[0]+" "+fields[1])
		}
	}
	return keys
}

// startUsers is a node with the topic users, of 500 rows that fill some blocks, and a directory for a replica of it.
func startUsers(t *testing.T) (n *node, dir string) {
	n = startNode(t)
	dir = filepath.Join(t.TempDir(), "replica")
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	var lines strings.Builder
	for i := range 500 {
		fmt.Fprintf(&lines, "k%03d\tthe value of row %03d%0300d\n", i, i, 0)
	}
	n.run(t, lines.String(), "produce", "users")
	return n, dir
}

// A byte that changes on disk is told from drift, and repaired.
func TestRepairOfADamagedSstable(t *testing.T) {
	n, dir := startUsers(t)
	n.copyTo(t, "users", dir)
	flipByte(t, filepath.Join(dir, "table"), "the value of row 250")
	before := contentsOf(t, dir)
	for _, args := range [][]string{{"verify", "users"}, {"repair", "users", "--dry-run"}} {
		out, err := n.try(t, "", append(args, "--dir", dir)...)
		require.Equal(t, 2, statusOf(err), out)
		require.Contains(t, out, "partition 0 at 500: error: the stored rows are not what was applied")
		require.Regexp(t, `\.sst is damaged: block .* checksum mismatch`, out)
		require.Equal(t, before, contentsOf(t, dir))
		require.Equal(t, len(args) > 2, regexp.MustCompile(`a repair takes about \d{5} bytes for \d{2,3} keys by index; there is no key frame yet\n`).MatchString(out), out)
	}
	n.run(t, "", "frames", "cut", "users")
	out, err := n.try(t, "", "repair", "users", "--dir", dir, "--dry-run")
	require.Equal(t, 2, statusOf(err), out)
	require.Regexp(t, `a repair takes about \d{5} bytes for \d{2,3} keys by index; a whole key frame has \d+\n`, out)
	out = n.run(t, "", "repair", "users", "--dir", dir)
	require.Contains(t, out, "corruption found")
	require.Contains(t, out, "repaired, local corruption")
	require.Contains(t, out, "index")
	require.Contains(t, n.run(t, "", "verify", "users", "--dir", dir), "partition 0 at 500: equal, 500 rows")
}

// Keys that drifted are named beside rows that cannot be read, each as what it is, and nothing is said to be in the log that is not.
func TestVerifyOfDamageAndDrift(t *testing.T) {
	n, dir := startUsers(t)
	n.copyTo(t, "users", dir, mutated(map[string]string{"k250": "mutated", "k400": "mutated"}))
	flipByte(t, filepath.Join(dir, "table"), "the value of row 251")
	entry := func(key, value string) string {
		e := (&digest.Hasher{}).Entry([]byte(key), []byte(value))
		return shortEntry(e)
	}
	of := func(i int) string {
		return entry(fmt.Sprintf("k%03d", i), fmt.Sprintf("the value of row %03d%0300d", i, 0))
	}
	out, err := n.try(t, "", "verify", "users", "--dir", dir)
	require.Equal(t, 1, statusOf(err), out)
	require.Regexp(t, `partition 0 at 500: drifted: .*local corruption.*cannot be read`, out)
	for _, line := range []string{
		"~ k400  " + entry("k400", "mutated") + " -> " + of(400), "+ k251  " + of(251) + "  cannot be read",
		"+ k250  " + of(250) + "  cannot be read, " + entry("k250", "mutated") + " was applied",
	} {
		require.Contains(t, out, line+"\n")
	}
	out, err = n.try(t, "", "repair", "users", "--dir", dir, "--dry-run", "--json")
	require.Equal(t, 1, statusOf(err), out)
	said := regexp.MustCompile(`"repair":\{"method":"sketch","keys":(\d+),"bytes":\d+`).FindStringSubmatch(out)
	require.NotNil(t, said, out)
	out, err = n.try(t, "", "replica", "run", "users", "--dir", dir, "--on-drift", "halt", "--exit")
	require.Error(t, err)
	for _, line := range []string{
		`key "k400" differs: ` + entry("k400", "mutated") + " here, " + of(400) + " in the log",
		`key "k251" cannot be read: ` + of(251) + " was applied, as it is in the log",
		`key "k250" differs, and cannot be read: ` + entry("k250", "mutated") + " was applied, " + of(250) + " in the log",
	} {
		require.Contains(t, out, line+"\n")
	}
	out = n.run(t, "", "repair", "users", "--dir", dir)
	require.Contains(t, out, "repaired, local corruption: "+said[1]+" keys by sketch")
	require.Contains(t, out, "+ k250  "+of(250)+"  cannot be read, "+entry("k250", "mutated")+" was applied\n")
	require.Contains(t, n.run(t, "", "verify", "users", "--dir", dir), "partition 0 at 500: equal, 500 rows")
}

func flipByte(t *testing.T, dir, text string) {
	t.Helper()
	for path, b := range contentsOf(t, dir) {
		if i := strings.Index(b, text); i >= 0 {
			b = b[:i] + string(b[i]^1) + b[i+1:]
			require.NoError(t, os.WriteFile(path, []byte(b), 0o644))
			return
		}
	}
	require.Fail(t, "the text is in no file")
}

// What the log has let go since is no drift; a position that it has trimmed is compared with what changed since; a topic that was created anew is no log
// to compare with, and repair makes the copy one of it.
func TestVerifyWhatTheLogHasLetGo(t *testing.T) {
	n := startNode(t)
	dir := filepath.Join(t.TempDir(), "replica")
	kafka, err := kgo.NewClient(kgo.SeedBrokers(n.kafka))
	require.NoError(t, err)
	defer kafka.Close()
	admin := kadm.NewClient(kafka)

	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact,delete")
	n.run(t, "alice\t1\nbob\t1\ncarol\t1\n", "produce", "users")
	n.copyTo(t, "users", dir, mutated(map[string]string{"carol": "2"}))
	n.run(t, "", "frames", "cut", "users")
	deleted, err := admin.DeleteRecords(t.Context(), kadm.Offsets{"users": {0: {Topic: "users", Partition: 0, At: 1}}})
	require.NoError(t, err)
	require.NoError(t, deleted.Error())
	n.run(t, "", "frames", "cut", "users")
	out, err := n.try(t, "", "verify", "users", "--dir", dir)
	require.Equal(t, 1, statusOf(err), out)
	require.Equal(t, []string{"~ carol"}, keysPrinted(out), out)

	n.run(t, "", "topic", "alter", "users", "--cleanup-policy", "compact", "--topic-config", "keyframe.delta.retention.ms=0", "--topic-config", "keyframe.retain=1")
	for _, line := range []string{"dan\t1\n", "erin\t1\n"} { // the last batch stays
		n.run(t, line, "produce", "users")
		n.run(t, "", "frames", "cut", "users")
	}
	require.Eventually(t, func() bool {
		out, err = n.try(t, "", "verify", "users", "--dir", dir)
		return strings.Contains(out, "partition 0 at 4: drifted") // at 3, unless it is trimmed
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, 1, statusOf(err), out)
	require.Equal(t, []string{"~ carol"}, keysPrinted(out), out)
	require.Contains(t, out, "position 3 is no longer in the log")

	n.run(t, "", "topic", "delete", "users")
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact", "--partitions", "2")
	n.run(t, "alice\t1\n", "produce", "users")
	out, err = n.try(t, "", "verify", "users", "--dir", dir)
	require.Equal(t, 2, statusOf(err), out)
	require.Contains(t, out, "partition 0 at 3: inconclusive (the topic was created anew since)")
	require.Contains(t, out, "partition 1 at 0: inconclusive (the directory has no state of this partition)")
	n.run(t, "", "repair", "users", "--dir", dir)
	require.Equal(t, 2, strings.Count(n.run(t, "", "verify", "users", "--dir", dir), ": equal, "))
}

// Of a copy that slept until its position was trimmed it is said what a repair takes: what has changed since, beside a whole key frame.
func TestWhatACopyThatSleptCosts(t *testing.T) {
	n := startNode(t)
	dir := filepath.Join(t.TempDir(), "replica")
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact", "--topic-config", "keyframe.delta.retention.ms=0",
		"--topic-config", "keyframe.retain=1")
	n.run(t, "alice\t1\nbob\t1\ncarol\t1\n", "produce", "users")
	n.copyTo(t, "users", dir)
	for _, line := range []string{"dan\t1\nbob\t2\n", "erin\t1\n"} { // the last batch stays
		n.run(t, line, "produce", "users")
		n.run(t, "", "frames", "cut", "users")
	}
	var out string
	var err error
	require.Eventually(t, func() bool {
		out, err = n.try(t, "", "repair", "users", "--dir", dir, "--dry-run")
		return strings.Contains(out, "no longer in the log")
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, 2, statusOf(err), out)
	require.Regexp(t, `partition 0: a repair takes the 2 keys that changed since, about \d{3} bytes; a whole key frame has 2\d\d\n`, out)
	require.Contains(t, out, "nothing was changed: without --dry-run it is made what the log has")
	out, err = n.try(t, "", "repair", "users", "--dir", dir, "--dry-run", "--json")
	require.Equal(t, 2, statusOf(err), out)
	require.Regexp(t, `"repair":\{"method":"delta","keys":2,"bytes":\d{3},"frame_bytes":2\d\d\}`, out)
	n.run(t, "", "repair", "users", "--dir", dir)
	require.Contains(t, n.run(t, "", "verify", "users", "--dir", dir), "equal")
}

// A repair that takes too long ends, with what it waits for.
func TestRepairEnds(t *testing.T) {
	n, p := startBehindProxy(t)
	dir := filepath.Join(t.TempDir(), "replica")
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "a\t1\n", "produce", "users")
	n.copyTo(t, "users", dir)
	n.run(t, "a\t2\n", "produce", "users")
	p.withhold(kmsg.Fetch)
	const far = "is at 1, not yet at 2"
	after, _, err := n.givenUp(t, "", far, "repair", "users", "--dir", dir)
	require.Equal(t, 2, statusOf(err))
	require.ErrorContains(t, err, "not repaired within "+after+" (--timeout)")
	require.ErrorContains(t, err, far)
}

// Where replicas agree with one another and not with the broker, it is still told which keys differ, and nothing is repaired until somebody has settled
// who is right.
func TestRepairOfADisputedPartition(t *testing.T) {
	n := startNode(t)
	dir := filepath.Join(t.TempDir(), "replica")
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "alice\tonline\nbob\taway\n", "produce", "users")
	n.copyTo(t, "users", dir, mutate{"x"})
	for _, name := range []string{"wrong-1", "wrong-2"} {
		r := n.openReplica(t, name, kgo.WithHooks(mutate{"x"}))
		require.NoError(t, r.WaitFor(t.Context(), 0, 2))
	}
	n.run(t, "", "frames", "cut", "users")
	n.listed(t, "disputed")

	out, err := n.try(t, "", "repair", "users", "--dir", dir, "--dry-run")
	require.Equal(t, 1, statusOf(err), out)
	require.Equal(t, []string{"~ bob"}, keysPrinted(out), out)
	require.Contains(t, out, "partition 0: a repair would be refused: ")
	before := contentsOf(t, dir)[filepath.Join(dir, "replica.json")]
	out, err = n.try(t, "", "repair", "users", "--dir", dir, "--json")
	require.Equal(t, 1, statusOf(err), out)
	require.Contains(t, out, `"event":"repair refused"`)
	require.Contains(t, out, `"verdict":"drifted"}`+"\n")
	require.Equal(t, before, contentsOf(t, dir)[filepath.Join(dir, "replica.json")], "the same state, verified nowhere")

	n.run(t, "", "replica", "settle", "users", "0")
	out = n.run(t, "", "repair", "users", "--dir", dir, "--json")
	require.Contains(t, out, `{"key":"bob","partition":0,"here":"`)
	require.Contains(t, out, `"repair":{"cause":"logical drift","keys":1,"method":"`)
	require.Regexp(t, `\{"new":0,"gone":0,"changed":1,"verdict":"equal"\}\n$`, out)
}
