package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/broker/process"
)

const (
	kafkaScript = "bench/peers/kafka/kafka.sh"
	kafkaPort   = 31092
)

// kafkaSettings are beside what the script sets. What a row has deleted is to leave the disk before the next.
func kafkaSettings(s setup) []string {
	settings := []string{"log.segment.delete.delay.ms=1000"}
	if s == eager {
		settings = append(settings, "log.cleaner.backoff.ms=1000", "log.cleaner.min.cleanable.ratio=0.01", "log.segment.bytes=16777216")
	}
	return settings
}

// servers are the brokers that run: one of ours, and one of the peer's.
type servers struct {
	dir   string
	ours  *process.Broker
	own   *target.Target
	peer  *target.Target
	setup setup // of the peer
}

// keyframe returns ours, and starts it if it does not run.
func (s *servers) keyframe(ctx context.Context) (*target.Target, error) {
	if s.own != nil {
		return s.own, nil
	}
	binary := filepath.Join(s.dir, "keyframe")
	if err := process.Build(ctx, binary); err != nil {
		return nil, err
	}
	var err error
	if s.ours, err = process.Start(ctx, binary, filepath.Join(s.dir, "keyframe-data"), process.Options{}); err != nil {
		return nil, err
	}
	s.own, err = target.Open(ctx, target.Config{Brokers: []string{s.ours.Kafka}, StateURL: s.ours.State})
	return s.own, err
}

// kafka returns the peer, started so.
func (s *servers) kafka(ctx context.Context, as setup) (*target.Target, error) {
	if s.peer != nil && s.setup == as {
		return s.peer, nil
	}
	if err := s.stopKafka(ctx); err != nil {
		return nil, err
	}
	args := []string{"up", "--port", strconv.Itoa(kafkaPort), "--dir", s.kafkaDir(as)}
	for _, setting := range kafkaSettings(as) {
		args = append(args, "--set", setting)
	}
	if err := script(ctx, args...); err != nil {
		return nil, err
	}
	s.setup = as
	var err error
	s.peer, err = target.Open(ctx, target.Config{Name: "kafka", Brokers: []string{fmt.Sprintf("localhost:%d", kafkaPort)}})
	return s.peer, err
}

func (s *servers) kafkaDir(as setup) string { return filepath.Join(s.dir, "kafka-data-"+string(as)) }

func (s *servers) stopKafka(ctx context.Context) error {
	if s.peer == nil {
		return nil
	}
	s.peer.Close()
	s.peer = nil
	return script(ctx, "down", "--dir", s.kafkaDir(s.setup))
}

// stop ends all.
func (s *servers) stop(ctx context.Context) error {
	err := s.stopKafka(ctx)
	if s.own != nil {
		s.own.Close()
	}
	if s.ours != nil {
		err = errors.Join(err, s.ours.Stop())
	}
	return err
}

func script(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, kafkaScript, args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", kafkaScript, args[0], err)
	}
	return nil
}
