package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keyframelog/keyframe/bench/drill"
)

// drillForDemo is small enough to take a moment, and large enough to tell what a repair costs from what a frame does.
func drillForDemo(dir string) drill.Config {
	cfg := drill.DefaultConfig()
	cfg.Faults = []drill.Fault{drill.Lost, drill.Doubled, drill.Mutated, drill.Asleep}
	cfg.Keys, cfg.Deltas = 20_000, 400
	cfg.Dir, cfg.Logger = dir, errorLogger()
	return cfg
}

var errDrillFailed = errors.New("a fault was not found, or not put right: keyframe drill drift tells more")

// demoDrill breaks what other replicas are told, and prints what becomes of it.
func demoDrill(ctx context.Context, out io.Writer, dir string) error {
	cfg := drillForDemo(dir)
	report, err := drill.Run(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nfault drill: %s keys of a broker of its own, broken on the way to its replicas (keyframe drill drift does more, and explains)\n%s\n",
		grouped(int64(cfg.Keys)), drillTable(report.Findings))
	if !report.OK() {
		return errDrillFailed
	}
	return nil
}
