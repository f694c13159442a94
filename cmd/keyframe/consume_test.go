package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Silence is no end: a broker that does not answer makes --exit fail, with how far it came.
func TestConsumeExitFailsShortOfTheEnd(t *testing.T) {
	n, p := startBehindProxy(t)
	n.run(t, "", "topic", "create", "t")
	n.run(t, "a\nb\nc\n", "produce", "t")
	p.withhold(kmsg.Fetch)
	_, err := n.try(t, "", "consume", "t", "--exit", "--timeout", "300ms")
	require.ErrorContains(t, err, "partition 0 at 0 of 3")
	require.ErrorContains(t, err, "--timeout")

	// Where nothing is to be read, nothing is fetched.
	require.Empty(t, n.run(t, "", "consume", "t", "--exit", "--from", "latest"))
	require.Empty(t, n.run(t, "", "consume", "t", "--exit", "--from", "3"))
	require.Empty(t, n.run(t, "", "consume", "t", "--exit", "--from", "2100-01-01T00:00:00Z"))

	p.withhold(nothingWithheld)
	require.Len(t, strings.Split(strings.TrimSpace(n.run(t, "", "consume", "t", "--exit")), "\n"), 3)
}

// A record that cannot be read is an error, not the end.
func TestConsumeSaysThatTheDiskIsDamaged(t *testing.T) {
	var text strings.Builder
	for i := range 120_000 {
		fmt.Fprint(&text, i)
	}
	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	n.run(t, "needle-in-the-log"+text.String()+"\n", "produce", "t") // large enough for a block of its own
	n.run(t, text.String()+"\n", "produce", "t")                     // opening reads the last batch
	require.NoError(t, n.Close())
	require.NoError(t, startNodeIn(t, n.dir).Close()) // writes what is in the WAL to a table
	require.Positive(t, damageFiles(t, n.dir, []byte("needle-in-the-log")))
	n = startNodeIn(t, n.dir)
	_, err := n.try(t, "", "consume", "t", "--exit", "--timeout", "5s")
	require.ErrorContains(t, err, "cannot read its disk")
	require.ErrorContains(t, err, "topic t partition 0 at offset 0")
}

func TestConsumeFromOutOfRange(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	n.run(t, "a\nb\n", "produce", "t")
	_, err := n.try(t, "", "consume", "t", "--from", "99", "--exit")
	require.ErrorContains(t, err, "topic t partition 0 has the offsets 0 to 2")
	_, err = n.try(t, "", "consume", "t", "--partition", "7", "--exit")
	require.ErrorContains(t, err, "no partition 7")
}

// What a member of a group has printed is committed on every way out, and no more than that.
func TestConsumeGroupCommits(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	n.run(t, "a\nb\nc\nd\n", "produce", "t")
	consume := func(args ...string) (values []string) {
		t.Helper()
		args = append([]string{"consume", "t", "--group", "g", "--exit", "--format", "jsonl"}, args...)
		for _, row := range lines(t, n.run(t, "", args...)) {
			values = append(values, row["value"].(string))
		}
		return values
	}
	require.Equal(t, []string{"a"}, consume("-n", "1"), "one of a batch of four")
	require.Equal(t, []string{"b", "c", "d"}, consume())
	require.Empty(t, consume())
	n.run(t, "e\n", "produce", "t")
	require.Equal(t, []string{"e"}, consume("--from", "earliest"), "the group's own offset goes before --from")
}

// While the broker's disk is full nothing is committed, and whoever consumes is told so: at once while the command follows, and by its end.
func TestConsumeGroupSaysThatTheDiskIsFull(t *testing.T) {
	n, p := startBehindProxy(t)
	n.run(t, "", "topic", "create", "t")
	n.run(t, "a\n", "produce", "t")
	p.refuseCommits(kerr.KafkaStorageError.Code)
	out, err := n.try(t, "", "consume", "t", "--group", "g", "--exit")
	require.ErrorContains(t, err, "commit the offsets of group g")
	require.ErrorContains(t, err, "cannot write to its disk (it may be full)")
	require.Contains(t, out, "\ta\n", "it is printed nevertheless")
	require.NotContains(t, out, "trying again", "nobody does")

	// A command that follows the topic commits from time to time.
	var following lockedBuffer
	root := newRootCommand()
	root.SetOut(&following)
	root.SetErr(&following)
	root.SetArgs([]string{"consume", "t", "--group", "h"})
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	require.Eventually(t, func() bool { return strings.Contains(following.String(), "it may be full") }, time.Minute, 10*time.Millisecond)
	p.refuseCommits(0)
	interrupt()
	require.NoError(t, <-ended)
	require.Empty(t, n.run(t, "", "consume", "t", "--group", "h", "--exit"), "committed at the end")
}

// A failure is told once for as long as it lasts, and so is its end.
func TestCommitWatch(t *testing.T) {
	var told strings.Builder
	w := &commitWatch{group: "g", warnings: &told}
	step := func(code int16, err error) string {
		told.Reset()
		resp := &kmsg.OffsetCommitResponse{Topics: []kmsg.OffsetCommitResponseTopic{{Partitions: []kmsg.OffsetCommitResponseTopicPartition{{}, {ErrorCode: code}}}}}
		if err != nil {
			resp = nil
		}
		w.done(nil, nil, resp, err)
		return told.String()
	}
	require.Empty(t, step(0, nil))
	require.Contains(t, step(56, nil), "it may be full")
	require.Empty(t, step(56, nil))
	require.Empty(t, step(0, context.Canceled))
	require.Contains(t, step(0, errors.New("away")), "away; trying again")
	require.Contains(t, step(56, nil), "it may be full")
	require.Contains(t, step(0, nil), "committed again")
	require.Empty(t, step(0, nil))
	w.stop()
	require.Empty(t, step(56, nil))
}

// Keys, values and headers cannot break the line that a record has, nor speak to the terminal; JSON has them exactly.
func TestTextOutputIsOneLineARecord(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t", "--cleanup-policy", "compact")
	n.run(t, `{"key":"k\tk","value":"one\ntwo\u001b[31m \"q\" \\n ü"}`, "produce", "t", "--input", "jsonl")
	want := `one\ntwo\x1b[31m "q" \n ü`
	out := n.run(t, "", "consume", "t", "--exit")
	require.Equal(t, 1, strings.Count(out, "\n"))
	require.Equal(t, []string{`k\tk`, want}, strings.Split(strings.TrimSuffix(out, "\n"), "\t")[3:])
	out = n.run(t, "", "state", "scan", "t")
	require.Equal(t, 2, strings.Count(out, "\n"), "the header and the row: %q", out)
	require.Contains(t, out, want)
	require.Equal(t, "one\ntwo\x1b[31m \"q\" \\n ü", lines(t, n.run(t, "", "state", "scan", "t", "--format", "jsonl"))[0]["value"])
}

// Where deletes behind an offset are forgotten, and keyframe.stale.fetch=error, it is said that this is why it cannot be read, though the log has the offset.
func TestConsumeFromAStaleOffset(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t", "--cleanup-policy", "compact", "--topic-config", "keyframe.stale.fetch=error", "--topic-config", "delete.retention.ms=0",
		"--topic-config", "keyframe.delta.retention.ms=0", "--topic-config", "keyframe.retain=1")
	n.run(t, "a\t1\nb\t1\nc\t1\n", "produce", "t")
	for _, line := range []string{`{"key":"a","value":null}`, `{"key":"b","value":"2"}`, `{"key":"b","value":"3"}`} { // the last batch stays
		n.run(t, line+"\n", "produce", "t", "--input", "jsonl")
		n.run(t, "", "frames", "cut", "t")
	}
	var err error
	require.Eventually(t, func() bool {
		_, err = n.try(t, "", "consume", "t", "--from", "1", "--exit")
		return err != nil
	}, time.Minute, 10*time.Millisecond)
	require.ErrorContains(t, err, "topic t partition 0 at offset 1: the offset is stale: which keys were deleted behind it is not known any more")
	require.ErrorContains(t, err, "go on with --from earliest")
	require.Contains(t, n.run(t, "", "consume", "t", "--exit"), "3")
}
