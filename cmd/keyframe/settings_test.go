package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// A value that does not parse is refused with its key and source, wherever it comes from; it never becomes zero or false.
func TestBadValuesAreRefused(t *testing.T) {
	for name, x := range map[string]struct {
		env, yaml string // KEY=VALUE; a line of YAML
		args      []string
		want      []string
	}{
		"bool in the environment":     {env: "KEYFRAME_AUTO_CREATE_TOPICS=yes", want: []string{`auto-create-topics "yes"`, "environment KEYFRAME_AUTO_CREATE_TOPICS", "true or false"}},
		"insecure maybe":              {env: "KEYFRAME_INSECURE=maybe", want: []string{`insecure "maybe"`, "true or false"}},
		"duration in the environment": {env: "KEYFRAME_GROUP_INITIAL_REBALANCE_DELAY=abc", want: []string{`"abc"`, "500ms"}},
		"size in the environment":     {env: "KEYFRAME_MEMTABLE_SIZE=64MB", want: []string{`memtable-size "64MB"`, "64MiB"}},
		"number in the file":          {yaml: "default-partitions: abc", want: []string{`default-partitions "abc"`, "file ", "a whole number"}},
		"bool in the file":            {yaml: "insecure: maybe", want: []string{`insecure "maybe"`, "file "}},
		"duration without a unit":     {yaml: "group-initial-rebalance-delay: 3", want: []string{`"3"`, "unit"}},
		"list for one value":          {yaml: "kafka-addr: [a, b]", want: []string{"kafka-addr", "not a list"}},
		"map for one value":           {yaml: "log-format: {a: b}", want: []string{"log-format", "file ", "not a map"}},
		"map within a map":            {yaml: "log-format: {text: {1: b}}", want: []string{"log-format", "not a map"}},
		"map for a list":              {yaml: "fold: {a: b}", want: []string{"fold", "file ", "not a map"}},
		"map in a list":               {yaml: "fold: [{a: b}]", want: []string{"fold", "not a map"}},
		"list in a list":              {yaml: "fold: [[a=counter]]", want: []string{"fold", "not a list"}},
		"number as a flag":            {args: []string{"--default-partitions", "x"}, want: []string{`--default-partitions "x"`, "a whole number"}},
		"too many partitions":         {args: []string{"--default-partitions", "4294967297"}, want: []string{"default-partitions", "2147483647"}},
		"no partition":                {env: "KEYFRAME_DEFAULT_PARTITIONS=0", want: []string{`default-partitions "0"`, "environment", "at least one"}},
		"port out of range":           {args: []string{"--kafka-addr", "127.0.0.1:99999"}, want: []string{"kafka-addr", "flag --kafka-addr", "65535"}},
		"no port":                     {yaml: "state-addr: localhost", want: []string{"state-addr", "HOST:PORT"}},
		"advertised port 0":           {args: []string{"--advertised-addr", "foo:0"}, want: []string{"advertised-addr", "from 1 to 65535"}},
		"unknown fold":                {env: "KEYFRAME_FOLD=a=sum", want: []string{`"a=sum"`, "environment", "counter"}},
		"fold of no pattern":          {args: []string{"--fold", "[a=counter"}, want: []string{`fold "[a=counter"`, "flag --fold", `"[a" is no pattern`}},
		"no connections":              {env: "KEYFRAME_MAX_CONNECTIONS=-5", want: []string{"max connections -5: at least one"}},
		"never idle":                  {args: []string{"--connection-idle-timeout", "-5s"}, want: []string{"connection idle timeout -5s: above 0"}},
		"log level":                   {yaml: "log-level: loud", want: []string{`log-level "loud"`, "debug"}},
	} {
		t.Run(name, func(t *testing.T) {
			if x.env != "" {
				setenv(t, x.env)
			}
			args := x.args
			if x.yaml != "" {
				args = append(args, "--config", writeFile(t, x.yaml))
			}
			for _, command := range [][]string{{"serve"}, {"config", "print"}} {
				_, err := runCommand(t, append(command, args...)...)
				for _, want := range x.want {
					require.ErrorContains(t, err, want, "%v", command)
				}
				require.NotContains(t, err.Error(), "strconv", "%v", command)
			}
		})
	}
}

func runCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return command(t, "", append(args, "--data-dir", filepath.Join(t.TempDir(), "data"))...)
}

func setenv(t *testing.T, pair string) {
	t.Helper()
	name, value, err := splitPair(pair, "variable")
	require.NoError(t, err)
	t.Setenv(name, value)
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyframe.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// A flag and a YAML list are taken as they are: a pattern may hold brackets and commas. Only a variable is split.
func TestListsAreTakenAsTheyAre(t *testing.T) {
	folds := func(args ...string) (got []string) {
		t.Helper()
		var c *config
		cmd := &cobra.Command{Use: "test", RunE: func(cmd *cobra.Command, _ []string) (err error) {
			c, err = loadConfig(cmd)
			return err
		}}
		cmd.Flags().String("config", "", "")
		addSettings(cmd, "fold")
		cmd.SetArgs(args)
		require.NoError(t, cmd.Execute())
		patterns, err := foldPatterns(c)
		require.NoError(t, err)
		for _, p := range patterns {
			got = append(got, p.Pattern+" "+p.Fold.String())
		}
		return got
	}
	require.Equal(t, []string{"[ab]x counter", "[a,b]y last-value"}, folds("--fold", "[ab]x=counter", "--fold", "[a,b]y=last-value"))
	require.Equal(t, []string{"[ab]x counter", "[a,b]y last-value"}, folds("--config", writeFile(t, "fold: ['[ab]x=counter', '[a,b]y=last-value']")))
	t.Setenv("KEYFRAME_FOLD", "[ab]x=counter, z=last-value")
	require.Equal(t, []string{"[ab]x counter", "z last-value"}, folds())
}

func TestConfigPrintNamesSources(t *testing.T) {
	t.Setenv("KEYFRAME_KAFKA_ADDR", "")
	t.Setenv("KEYFRAME_DEFAULT_PARTITIONS", "3")
	file := writeFile(t, "memtable-size: 67108864\ndefault-partitions: 5\nbrokers: [a:1, b:2]\n")
	out, err := command(t, "", "config", "print", "--show-source", "--format", "jsonl", "--config", file, "--log-level", "debug")
	require.NoError(t, err)
	got := map[string][2]any{}
	for _, row := range lines(t, out) {
		got[row["setting"].(string)] = [2]any{row["value"], row["source"]}
	}
	require.Equal(t, [2]any{"127.0.0.1:9092", "default"}, got["kafka-addr"], "an empty variable counts as unset")
	require.Equal(t, [2]any{"3", "environment KEYFRAME_DEFAULT_PARTITIONS"}, got["default-partitions"], "the environment goes before the file")
	require.Equal(t, [2]any{"64MiB", "file " + file}, got["memtable-size"])
	require.Equal(t, [2]any{"a:1,b:2", "file " + file}, got["brokers"])
	require.Equal(t, [2]any{"debug", "flag --log-level"}, got["log-level"])
	require.Equal(t, [2]any{"true", "default"}, got["auto-create-topics"])
}

// Every setting has a flag of a type that every source is parsed with.
func TestDefaultsMakeABroker(t *testing.T) {
	cmd := newServeCommand()
	c, err := loadConfig(cmd)
	require.NoError(t, err)
	_, err = brokerConfig(c, io.Discard)
	require.NoError(t, err)
}
