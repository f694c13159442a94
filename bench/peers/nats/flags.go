package main

import (
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/peers/nats/kv"
	"github.com/keyframelog/keyframe/bench/peers/nats/server"
	"github.com/keyframelog/keyframe/bench/peers/nats/workload"
)

// command is a workload, and where its server has its files.
type command struct {
	workload.Workload
	dir string // "": where the system has temporary ones
}

// parse makes it of a name and flags.
func parse(name string, args []string) (c command, err error) {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	declareDir(f, &c.dir)
	var made func() workload.Workload
	switch name {
	case "produce":
		w := workload.DefaultProduce()
		declareBucket(f, &w.Bucket, &w.Shape)
		f.DurationVar(&w.Duration, "duration", w.Duration, "how long")
		f.BoolVar(&w.Settle, "settle", false, "measure also how long the server works on afterwards")
		made = func() workload.Workload { return w }
	case "bootstrap":
		w := workload.DefaultBootstrap()
		declareBucket(f, &w.Bucket, &w.Shape)
		declareVia(f, &w.Via)
		f.Func("updates", "records that were put in all, each time that it is measured: N,N,... (default 1000000,5000000)", func(s string) (err error) {
			w.Updates, err = numbers(s)
			return err
		})
		f.IntVar(&w.Consumers, "consumers", w.Consumers, "how many begin with nothing, each time and each way")
		made = func() workload.Workload { return w }
	case "resync":
		w := workload.DefaultResync()
		declareBucket(f, &w.Bucket, &w.Shape)
		declareVia(f, &w.Via)
		f.Int64Var(&w.Updates, "updates", w.Updates, "records that are put while it is away")
		f.Int64Var(&w.Changed, "changed", w.Changed, "keys among which they are")
		made = func() workload.Workload { return w }
	default:
		return c, fmt.Errorf("%q: produce, bootstrap or resync", name)
	}
	if err := read(f, args); err != nil {
		return c, err
	}
	c.Workload = made()
	return c, nil
}

func read(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s takes no %q", f.Name(), f.Arg(0))
	}
	return nil
}

func declareDir(f *flag.FlagSet, dir *string) {
	f.StringVar(dir, "dir", "", "directory for the server's files (default: the system's for temporary ones)")
}

func declareSync(f *flag.FlagSet, sync *server.Sync) {
	f.StringVar((*string)(sync), "sync", "", "always: fsync before each acknowledgement; async: acknowledge before it is written (default: written, fsync every 2 minutes)")
}

func declareBucket(f *flag.FlagSet, b *workload.Bucket, s *load.Shape) {
	declareSync(f, &b.Sync)
	f.StringVar((*string)(&b.Publish), "publish", "", "fast, atomic (batches) or async (each message is acknowledged by itself); default: fast, with --sync always atomic")
	f.IntVar(&s.ValueBytes, "value-bytes", s.ValueBytes, "bytes of each value")
	f.Int64Var(&s.Keys, "keys", s.Keys, "distinct keys")
}

func declareVia(f *flag.FlagSet, via *kv.Via) {
	f.StringVar((*string)(via), "via", "", "watch or consumer (default: both, the faster counts)")
}

func numbers(s string) (list []int64, err error) {
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}
