package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	"github.com/keyframelog/keyframe/broker/process"
)

// ours is the real binary, in a process of its own.
type ours struct {
	*process.Broker
	binary string
}

// startOurs builds the binary into dir and serves from there.
func startOurs(ctx context.Context, dir string, log io.Writer) (*ours, error) {
	b := &ours{binary: filepath.Join(dir, "keyframe")}
	if err := process.Build(ctx, b.binary); err != nil {
		return nil, err
	}
	var err error
	b.Broker, err = process.Start(context.WithoutCancel(ctx), b.binary, filepath.Join(dir, "data"), process.Options{ // Stop ends it, an interrupt too
		Flags: []string{"--group-initial-rebalance-delay", "0s"},
		Log:   func(line string) { fmt.Fprintln(log, line) },
	})
	return b, err
}

// cut makes a key frame of a topic.
func (b *ours) cut(ctx context.Context, topic string) error {
	if out, err := exec.CommandContext(ctx, b.binary, "frames", "cut", topic, "--state-url", b.State).CombinedOutput(); err != nil {
		return fmt.Errorf("frames cut: %w: %s", err, out)
	}
	return nil
}
