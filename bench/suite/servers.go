package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/keyframelog/keyframe/bench/launch"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/broker/process"
)

const kafkaScript = "bench/peers/kafka/kafka.sh"

// kafkaSettings are beside what the script sets. What a row has deleted is to leave the disk before the next.
func kafkaSettings(s setup) []string {
	settings := []string{"log.segment.delete.delay.ms=1000"}
	if s == eager {
		settings = append(settings, "log.cleaner.backoff.ms=1000", "log.cleaner.min.cleanable.ratio=0.01", "log.segment.bytes=16777216")
	}
	return settings
}

// kafkaCommand starts the peer so.
func kafkaCommand(as setup) launch.Command {
	c := launch.Command{kafkaScript, "up", "--port", "{port}", "--dir", "{dir}"}
	for _, setting := range kafkaSettings(as) {
		c = append(c, "--set", setting)
	}
	return c
}

// servers are the brokers that run: one of ours, and one of the peer's.
type servers struct {
	dir    string
	built  bool // the binary is there
	ours   *process.Broker
	own    *target.Target
	theirs *launch.Broker
	peer   *target.Target
	setup  setup // of the peer
}

// build makes the binary, once.
func (s *servers) build(ctx context.Context) (string, error) {
	binary := filepath.Join(s.dir, "keyframe")
	if s.built {
		return binary, nil
	}
	err := process.Build(ctx, binary)
	s.built = err == nil
	return binary, err
}

// keyframe returns ours, and starts it if it does not run.
func (s *servers) keyframe(ctx context.Context) (*target.Target, error) {
	if s.own != nil {
		return s.own, nil
	}
	binary, err := s.build(ctx)
	if err != nil {
		return nil, err
	}
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
	if err := s.stopKafka(); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, "kafka-data-"+string(as))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if s.theirs, err = launch.Start(ctx, kafkaCommand(as), dir); err != nil {
		return nil, err
	}
	s.setup = as
	s.peer, err = s.theirs.Open(ctx)
	return s.peer, err
}

func (s *servers) stopKafka() error {
	if s.peer != nil {
		s.peer.Close()
		s.peer = nil
	}
	if s.theirs == nil {
		return nil
	}
	b := s.theirs
	s.theirs = nil
	return b.Stop()
}

// stop ends all; what is asked for next is started anew.
func (s *servers) stop() error {
	err := s.stopKafka()
	if s.own != nil {
		s.own.Close()
		s.own = nil
	}
	if s.ours != nil {
		err = errors.Join(err, s.ours.Stop())
		s.ours = nil
	}
	return err
}
