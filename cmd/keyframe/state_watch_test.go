package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Changes are printed as they come, until the command is interrupted: then it ends well.
func TestStateWatch(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "w", "--cleanup-policy", "compact", "--partitions", "2")
	n.run(t, "a1\tone\nb\ttwo\n", "produce", "w", "--partition", "0")

	ctx, interrupt := context.WithCancel(t.Context())
	var printed lockedBuffer
	root := newRootCommand()
	root.SetOut(&printed)
	root.SetErr(&printed)
	root.SetArgs([]string{"state", "watch", "w", "--from-start", "--prefix", "a", "--state-url", n.state})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	has := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(printed.String(), text) }, time.Minute, 5*time.Millisecond, "%s", &printed)
	}
	has("a1")
	n.run(t, "a1\tthree\nb\tfour\n", "produce", "w", "--partition", "0")
	has("three")
	n.run(t, `{"key":"a1","value":null}`, "produce", "w", "--partition", "0", "--input", "jsonl")
	has("deleted")
	interrupt()
	require.NoError(t, <-ended)
	times := regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]{12}Z`)
	require.Equal(t, "put\t0\t0\tTIME\ta1\tone\nput\t0\t2\tTIME\ta1\tthree\ndeleted\t0\t4\tTIME\ta1\t\n", times.ReplaceAllString(printed.String(), "TIME"))

	out := n.run(t, "", "state", "watch", "w", "--from-start", "--exit", "--format", "jsonl")
	require.Regexp(t, `^{"change":"put","key":"b","value":"four","offset":3,"timestamp":\d+,"partition":0}\n`, out)
	_, err := n.try(t, "", "state", "watch", "nowhere")
	require.ErrorContains(t, err, `there is no topic "nowhere"`)
}

// All rows of a partition that come a second time are no changes, and the reader is told; with --from-start the first time is what was asked for.
func TestStateWatchBeginsAnew(t *testing.T) {
	var out strings.Builder
	asked := beginnings{fromStart: true, known: map[int32]bool{}}
	asked.tell(&out, []int32{0, 1})
	require.Empty(t, out.String())
	asked.tell(&out, []int32{1})
	require.Regexp(t, "^partition 1: .*every row there is follows", out.String())
	out.Reset()
	atEnd := beginnings{known: map[int32]bool{}}
	atEnd.tell(&out, []int32{2})
	require.Regexp(t, "^partition 2: ", out.String())
}
