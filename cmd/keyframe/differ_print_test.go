package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
)

// printDiffers prints one key of each kind with a printer and returns what it printed.
func printDiffers(t *testing.T, sides differSides, asJSON bool) (out string) {
	var text string
	out = printed(t, sides, asJSON, func(p *differPrinter) error {
		var h digest.Hasher
		one, two := h.Entry([]byte("k"), []byte("1")), h.Entry([]byte("k"), []byte("2"))
		require.NoError(t, p.fact("partition 3 at 70: drifted", []string{"partition", "verdict"}, int32(3), "drifted"))
		require.NoError(t, p.key(client.Difference{Partition: 3, Key: []byte("a\n"), Log: one}))
		require.NoError(t, p.key(client.Difference{Partition: 3, Key: []byte("b"), Here: one, Log: two}))
		require.NoError(t, p.key(client.Difference{Partition: 3, Key: []byte("c\xff"), Here: two}))
		text = p.summary()
		require.Equal(t, 3, p.keys())
		return p.close([]string{"verdict"}, "drifted")
	})
	require.Equal(t, "1 new, 1 gone, 1 changed", text)
	return out
}

// printed is what is printed with a printer.
func printed(t *testing.T, sides differSides, asJSON bool, print func(*differPrinter) error) string {
	var out bytes.Buffer
	cmd := &cobra.Command{Use: "verify", RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		p, err := newDifferPrinter(cmd, c, asJSON, sides)
		if err != nil {
			return err
		}
		return print(p)
	}}
	addSettings(cmd, "format")
	cmd.SetOut(&out)
	cmd.SetArgs(nil)
	require.NoError(t, cmd.Execute())
	return out.String()
}

func TestKeysThatDifferAsText(t *testing.T) {
	sides := differSides{here: "./copy at 3:70", log: "users at 3:70"}
	require.Equal(t, `partition 3 at 70: drifted
--- ./copy at 3:70
+++ users at 3:70
+ a\n  e6d09eebb4bcc769
~ b  e6d09eebb4bcc769 -> d67984cf74ed6ab8
- base64:Y/8=  d67984cf74ed6ab8
`, printDiffers(t, sides, false))

	sides.toHere, sides.partitions = true, true // what the log is to change
	require.Equal(t, `partition 3 at 70: drifted
--- users at 3:70
+++ ./copy at 3:70
- a\n (partition 3)  e6d09eebb4bcc769
~ b (partition 3)  d67984cf74ed6ab8 -> e6d09eebb4bcc769
+ base64:Y/8= (partition 3)  d67984cf74ed6ab8
`, printDiffers(t, sides, false))
}

func TestKeysThatDifferAsJSON(t *testing.T) {
	lines := strings.Split(printDiffers(t, differSides{}, true), "\n")
	require.Len(t, lines, 6)
	require.Equal(t, `{"partition":3,"verdict":"drifted"}`, lines[0])
	require.Regexp(t, `^\{"key":"a\\n","partition":3,"log":"[0-9a-f]{64}"\}$`, lines[1])
	require.Regexp(t, `^\{"key":"b","partition":3,"here":"[0-9a-f]{64}","log":"[0-9a-f]{64}"\}$`, lines[2])
	require.Regexp(t, `^\{"key_base64":"Y/8=","partition":3,"here":"[0-9a-f]{64}"\}$`, lines[3])
	require.Equal(t, `{"new":1,"gone":1,"changed":1,"verdict":"drifted"}`, lines[4])
	require.Empty(t, lines[5])
}

// A row that cannot be read and has left the log is not said to be in it.
func TestRowsThatHaveExpiredAndCannotBeRead(t *testing.T) {
	var h digest.Hasher
	one := h.Entry([]byte("k"), []byte("1"))
	require.Regexp(t, `(?m)^- k  cannot be read, [0-9a-f]{16} was applied, and has expired$`, printed(t, differSides{}, false, func(p *differPrinter) error {
		require.NoError(t, p.key(client.Difference{Key: []byte("k"), Applied: one, Expired: true}))
		require.Equal(t, "0 new, 1 gone, 0 changed", p.summary())
		return p.close(nil)
	}))
}

// A row of which the log's is not known is told from one that the log has deleted, and counted as neither new nor gone.
func TestRowsOfWhichTheLogIsNotKnown(t *testing.T) {
	var h digest.Hasher
	one := h.Entry([]byte("k"), []byte("1"))
	both := func(p *differPrinter) error {
		require.NoError(t, p.key(client.Difference{Key: []byte("k"), Applied: one, LogUnknown: true}))
		require.NoError(t, p.key(client.Difference{Key: []byte("l"), Applied: one}))
		require.Equal(t, "0 new, 1 gone, 0 changed, 1 not known", p.summary())
		require.Equal(t, 2, p.keys())
		return p.close([]string{"verdict"}, "error")
	}
	lines := strings.Split(printed(t, differSides{}, true, both), "\n")
	require.Regexp(t, `^\{"key":"k","partition":0,"applied":"[0-9a-f]{64}","log_unknown":true\}$`, lines[0])
	require.Regexp(t, `^\{"key":"l","partition":0,"applied":"[0-9a-f]{64}"\}$`, lines[1])
	require.Equal(t, `{"new":0,"gone":1,"changed":0,"unknown":1,"verdict":"error"}`, lines[2])
	text := printed(t, differSides{}, false, both)
	require.Regexp(t, `(?m)^\? k  cannot be read, [0-9a-f]{16} was applied, and what the log has is not known$`, text)
	require.Regexp(t, `(?m)^- l  cannot be read, [0-9a-f]{16} was applied, and the log has none$`, text)
}
