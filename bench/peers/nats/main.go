// Nats measures JetStream's key-value store as `keyframe bench` measures a broker: it starts a NATS server on a directory of its own, runs a workload
// against it, and prints the result as JSON, with the same figures.
//
//	go run . produce   [--keys N] [--value-bytes N] [--duration D] [--settle]
//	go run . bootstrap [--keys N] [--value-bytes N] [--updates N,N,...] [--consumers N] [--via watch|consumer]
//	go run . resync    [--keys N] [--value-bytes N] [--updates N] [--changed N] [--via watch|consumer]
//
// each with [--sync always|async] [--publish fast|atomic|async] [--dir DIR]. It is a module of its own, so that ours does not need the server.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/keyframelog/keyframe/bench/peers/nats/server"
	"github.com/keyframelog/keyframe/bench/peers/nats/workload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "nats:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out, progress io.Writer) error {
	if len(args) == 0 {
		return errors.New("produce, bootstrap or resync?")
	}
	if args[0] == "serve" {
		return serve(args[1:], in, out)
	}
	c, err := parse(args[0], args[1:])
	if err != nil {
		return err
	}
	return c.measure(ctx, out, phases{progress})
}

// serve is the process of the server; one that measures starts it.
func serve(args []string, in io.Reader, out io.Writer) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	var (
		dir  string
		sync server.Sync
	)
	declareDir(f, &dir)
	declareSync(f, &sync)
	if err := read(f, args); err != nil {
		return err
	}
	signal.Ignore(os.Interrupt) // a terminal sends it to all: this one ends when it is not needed any more
	return server.Run(dir, sync, in, out)
}

// measure starts a server below the directory, and removes what it leaves.
func (c command) measure(ctx context.Context, out io.Writer, progress phases) (err error) {
	dir, err := os.MkdirTemp(c.dir, "keyframe-nats-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	s, err := server.Start(context.WithoutCancel(ctx), binary, dir, c.Syncs()) // interrupted, a run still drops what it has made
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	r, err := c.Run(ctx, workload.NewPeer(s), progress)
	if err != nil {
		return err
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// phases prints what a run is about to do.
type phases struct{ to io.Writer }

// Phase implements bench.Progress.
func (p phases) Phase(name string, total int64, unit string) {
	if total > 0 {
		fmt.Fprintf(p.to, "%s: %d %s\n", name, total, unit)
		return
	}
	fmt.Fprintln(p.to, name)
}

// At implements bench.Progress.
func (phases) At(int64) {}
