package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/process"
	"github.com/keyframelog/keyframe/broker/topics"
)

// Every command in the README runs, in order, in one shell per section, and ends with status 0. The two commands at the top are
// what runs this test, or takes too long here.
func TestReadmeCommands(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIPPED LOUDLY: curl is not installed, the README's commands were not run")
	}
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	script := shellBlocks(string(readme))
	require.Greater(t, strings.Count(script, "keyframe "), 15, "the README's commands were not found")

	bin := t.TempDir()
	build(t, filepath.Join(bin, "keyframe"))
	script = strings.ReplaceAll(script, `make build && export PATH="$PWD/bin:$PATH"`, "export PATH="+bin+":$PATH")
	// The commands use the default ports; a broker that runs on this machine must not be in the way.
	ports := freePorts(t, 4)
	for i, standard := range []string{"9092", "9094", "9192", "9194"} {
		script = strings.ReplaceAll(script, "127.0.0.1:"+standard, "127.0.0.1:"+ports[i])
	}
	script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n" + script

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(process.Environ(), "KEYFRAME_KAFKA_ADDR=127.0.0.1:"+ports[0], "KEYFRAME_BROKERS=127.0.0.1:"+ports[0],
		"KEYFRAME_STATE_ADDR=127.0.0.1:"+ports[1], "KEYFRAME_STATE_URL=http://127.0.0.1:"+ports[1])
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, want := range []string{"alice", "apples", `{"name":"A","tags":{"y":2}}`, "equal, 1 row,", `"caughtUp":[0]`, "no problem found",
		"1 delta written; equal", "every fault was found and put right", "produce on keyframe: Keyframe", "~ alice  online -> offline", `{"key":"bob","partition":0,"before":{"value":"away"`, `"value":"b25saW5l"`} {
		require.Contains(t, string(out), want)
	}
}

// Whoever reads the README finds every config of ours with its default, and those of Kafka's that have no effect.
func TestReadmeNamesTheConfigs(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, readme, _ := strings.Cut(string(text), "\n## Configuration\n")
	readme, _, _ = strings.Cut(readme, "\n## ")
	for _, d := range topics.Definitions() {
		if strings.HasPrefix(d.Name, "keyframe.") {
			require.Contains(t, readme, fmt.Sprintf("| `%s` | `%s` |", d.Name, d.Default))
		}
		if d.NoEffect && !strings.HasSuffix(d.Name, ".throttled.replicas") {
			named := strings.Contains(readme, "`"+d.Name+"`")
			for _, family := range []string{"segment.", "local.retention.", "remote.log."} {
				named = named || strings.HasPrefix(d.Name, family) && strings.Contains(readme, "`"+family+"*`")
			}
			require.True(t, named, d.Name)
		}
	}
}

// The README counts the APIs that a client is told.
func TestReadmeCountsTheAPIs(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	client, err := kgo.NewClient(kgo.SeedBrokers(startNode(t).kafka))
	require.NoError(t, err)
	defer client.Close()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), client)
	require.NoError(t, err)
	require.Contains(t, string(readme), fmt.Sprintf("\n%d of the ", len(resp.ApiKeys)))
}

// shellBlocks joins the README's sh blocks, without the one of the two make commands.
func shellBlocks(text string) string {
	var script strings.Builder
	for i, part := range strings.Split(text, "```sh\n") {
		block, _, ok := strings.Cut(part, "```")
		if i > 0 && ok && !strings.HasPrefix(block, "make demo") {
			script.WriteString(block)
		}
	}
	return script.String()
}

// freePorts are ports that nobody listened on a moment ago, and that nobody is given who asks for any: systems take those from 32768 up.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range 100 * n {
		port := strconv.Itoa(15_000 + rand.IntN(17_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue // somebody does
		}
		defer l.Close() // all are held until the last is chosen
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	require.Fail(t, "no ports are free")
	return nil
}

func build(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, process.Build(t.Context(), path))
}
