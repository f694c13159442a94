// Package benchtest is a broker for the tests of workloads: one of ours, in this process, or by a command.
package benchtest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench/launch"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/broker"
)

// Start starts a broker that ends with the test, as a target.
func Start(t *testing.T) *target.Target {
	t.Helper()
	cfg := broker.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	b, err := broker.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	to, err := target.Open(t.Context(), target.Config{Brokers: []string{b.KafkaAddr().String()}, StateURL: "http://" + b.StateAddr().String()})
	require.NoError(t, err)
	t.Cleanup(to.Close)
	return to
}

// serveWord is the first argument with which a test binary is a broker.
const serveWord = "serve"

// Main is what TestMain of a package calls whose tests start brokers by Command: it runs the tests, or is such a broker until SIGTERM. It returns the
// status to exit with.
func Main(m *testing.M) int {
	if len(os.Args) < 2 || os.Args[1] != serveWord {
		return m.Run()
	}
	if err := serve(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Command starts the test binary as a broker.
func Command() launch.Command { return launch.Keyframe(os.Args[0]) }

func serve(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := broker.DefaultConfig()
	flags := flag.NewFlagSet(serveWord, flag.ContinueOnError)
	flags.StringVar(&cfg.DataDir, "data-dir", "", "")
	flags.StringVar(&cfg.KafkaAddr, "kafka-addr", "", "")
	flags.StringVar(&cfg.StateAddr, "state-addr", "", "")
	flags.String("log-level", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b, err := broker.Start(ctx, cfg)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return b.Close()
}
