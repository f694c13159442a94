package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ours is the real binary, in a process of its own.
type ours struct {
	binary, kafka, state string
	cmd                  *exec.Cmd
	output               chan struct{}
}

// startOurs builds the binary into dir and serves from there, on ports that the system chooses.
func startOurs(ctx context.Context, dir string, log io.Writer) (*ours, error) {
	b := &ours{binary: filepath.Join(dir, "keyframe"), output: make(chan struct{})}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "github.com/keyframelog/keyframe/cmd/keyframe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the broker: %w: %s", err, out)
	}
	b.cmd = exec.Command(b.binary, "serve", "--data-dir", filepath.Join(dir, "data"), "--kafka-addr", "127.0.0.1:0", "--state-addr", "127.0.0.1:0",
		"--log-format", "json", "--group-initial-rebalance-delay", "0s")
	b.cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "KEYFRAME_") })
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stderr)
	for b.kafka == "" && lines.Scan() {
		fmt.Fprintln(log, lines.Text())
		b.kafka, b.state = logged(lines.Text(), "kafka_addr"), "http://"+logged(lines.Text(), "state_addr")
	}
	go func() {
		defer close(b.output)
		for lines.Scan() {
			fmt.Fprintln(log, lines.Text())
		}
	}()
	if b.kafka == "" {
		return nil, errors.Join(fmt.Errorf("the broker did not start"), b.stop())
	}
	return b, nil
}

func logged(line, name string) string {
	_, rest, _ := strings.Cut(line, `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// stop ends the broker; one that ended by itself, or badly, is an error.
func (b *ours) stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the broker had ended: %w", err)
	}
	kill := time.AfterFunc(30*time.Second, func() { _ = b.cmd.Process.Kill() })
	defer kill.Stop()
	<-b.output
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("the broker ended badly: %w", err)
	}
	return nil
}

// cut makes a key frame of a topic.
func (b *ours) cut(ctx context.Context, topic string) error {
	if out, err := exec.CommandContext(ctx, b.binary, "frames", "cut", topic, "--state-url", b.state).CombinedOutput(); err != nil {
		return fmt.Errorf("frames cut: %w: %s", err, out)
	}
	return nil
}
