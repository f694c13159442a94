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
		require.Eventually(t, func() bool { return strings.Contains(printed.String(), text) }, 20*time.Second, 5*time.Millisecond, "%s", &printed)
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
