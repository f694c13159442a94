package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/drill/proxy"
	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// stage is where a drill happens: a directory, a broker in it, and a proxy in front of it.
type stage struct {
	dir   string
	at    Broker
	drops bool // it leaves no topic: the broker is another's
	proxy *proxy.Proxy
	kafka *kgo.Client // directly
	admin *kadm.Client
	plane stateconnect.StateServiceClient
	http  *http.Client // beneath plane

	closers []func() error // last first
}

func openStage(ctx context.Context, cfg *Config) (_ *stage, err error) {
	s := &stage{http: &http.Client{Transport: &http.Transport{}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp(cfg.Dir, "keyframe-drill-"); err != nil {
		return nil, err
	}
	s.opened(func() error { return os.RemoveAll(s.dir) })
	if s.at, s.drops = cfg.Broker, cfg.Broker != (Broker{}); !s.drops {
		if err := s.startBroker(ctx, cfg); err != nil {
			return nil, err
		}
	}
	if s.proxy, err = proxy.Start(s.kafkaAddr()); err != nil {
		return nil, err
	}
	s.opened(s.proxy.Close)
	if s.kafka, err = kgo.NewClient(kgo.SeedBrokers(s.kafkaAddr())); err != nil {
		return nil, err
	}
	s.opened(func() error { s.kafka.Close(); return nil })
	s.admin = kadm.NewClient(s.kafka)
	s.plane = stateconnect.NewStateServiceClient(s.http, s.stateURL())
	s.opened(func() error { s.http.CloseIdleConnections(); return nil })
	return s, nil
}

// startBroker starts one in the directory.
func (s *stage) startBroker(ctx context.Context, cfg *Config) error {
	b := broker.DefaultConfig()
	b.DataDir, b.KafkaAddr, b.StateAddr = filepath.Join(s.dir, "data"), "127.0.0.1:0", "127.0.0.1:0"
	b.Logger = cfg.Logger
	if b.Logger == nil {
		b.Logger = slog.New(slog.DiscardHandler)
	}
	node, err := broker.Start(ctx, b)
	if err != nil {
		return err
	}
	s.opened(node.Close)
	s.at = Broker{Kafka: node.KafkaAddr().String(), State: "http://" + node.StateAddr().String()}
	return nil
}

func (s *stage) opened(closer func() error) { s.closers = append(s.closers, closer) }

// close ends everything, and leaves no file.
func (s *stage) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *stage) kafkaAddr() string { return s.at.Kafka }
func (s *stage) stateURL() string  { return s.at.State }

func (s *stage) createTopic(ctx context.Context, topic, fold string) error {
	policy := "compact"
	r, err := s.admin.CreateTopic(ctx, 1, 1, map[string]*string{"cleanup.policy": &policy, "keyframe.fold": &fold}, topic)
	if err := errors.Join(err, r.Err); err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	if s.drops {
		s.opened(func() error { return s.drop(context.WithoutCancel(ctx), topic) })
	}
	return nil
}

// drop deletes a topic.
func (s *stage) drop(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := s.admin.DeleteTopic(ctx, topic)
	if err := errors.Join(err, r.Err); err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}

// setRetention changes for how long the topic keeps raw deltas.
func (s *stage) setRetention(ctx context.Context, topic string, ms int64) error {
	value := strconv.FormatInt(ms, 10)
	responses, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "keyframe.delta.retention.ms", Value: &value}}, topic)
	for _, r := range responses {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		return fmt.Errorf("retention of topic %s: %w", topic, err)
	}
	return nil
}

// end is the offset behind the log's last record or marker.
func (s *stage) end(ctx context.Context, topic string) (int64, error) {
	listed, err := s.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("end of topic %s: %w", topic, err)
	}
	o, ok := listed.Lookup(topic, 0)
	if !ok {
		return 0, fmt.Errorf("end of topic %s: the broker does not tell", topic)
	}
	return o.Offset, nil
}

// cut has a key frame cut at the log's end.
func (s *stage) cut(ctx context.Context, topic string) (*state.Frame, error) {
	r, err := s.plane.Cut(ctx, connect.NewRequest(&state.CutRequest{Topic: topic}))
	if err != nil {
		return nil, fmt.Errorf("cut a key frame of topic %s: %w", topic, err)
	}
	if len(r.Msg.Frames) != 1 {
		return nil, fmt.Errorf("cut a key frame of topic %s: %d came", topic, len(r.Msg.Frames))
	}
	return r.Msg.Frames[0], nil
}

// deltaStart is the offset from which on the raw deltas are kept.
func (s *stage) deltaStart(ctx context.Context, topic string) (start int64, err error) {
	stream, err := s.plane.Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: topic}))
	if err != nil {
		return 0, err
	}
	for stream.Receive() {
		for _, p := range stream.Msg().Partitions {
			start = p.DeltaStartOffset
		}
	}
	return start, errors.Join(stream.Err(), stream.Close())
}

// wholeFrame downloads a key frame as a replica does, and tells what that takes on the wire.
func (s *stage) wholeFrame(ctx context.Context, topic string, cut int64) (int64, error) {
	var m meter
	c := m.client()
	defer c.CloseIdleConnections()
	url := fmt.Sprintf("%s/v1/topics/%s/partitions/0/frames/%d", s.stateURL(), topic, cut)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, fmt.Errorf("GET %s: %w", url, err)
	}
	return m.bytes.Load(), nil
}
