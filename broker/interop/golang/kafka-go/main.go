// Command kafka-go drives segmentio/kafka-go: Writer, Reader and Client.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/keyframelog/keyframe/broker/interop/golang/suite"
)

func main() { suite.Main(client{}, "github.com/segmentio/kafka-go") }

type client struct{}

// ShowsMarkers: the Reader passes control records on.
func (client) ShowsMarkers() bool { return true }

var codecs = map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}

func (client) Producer(addr, id string, c suite.ProducerConfig) (suite.Producer, error) {
	if c.Idempotent || c.TransactionalID != "" {
		return nil, fmt.Errorf("%w: the Writer is neither idempotent nor transactional", suite.ErrUnsupported)
	}
	p := &producer{Writer: kafka.Writer{Addr: kafka.TCP(addr), RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond,
		Compression: codecs[c.Codec], Transport: &kafka.Transport{ClientID: id}}}
	p.Balancer = kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return int(m.WriterData.(*suite.Record).Partition) })
	p.Completion = func(messages []kafka.Message, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, m := range messages {
			if err == nil {
				m.WriterData.(*suite.Record).Offset = m.Offset
			}
		}
	}
	return p, nil
}

type producer struct {
	kafka.Writer
	mu sync.Mutex
}

func (p *producer) Send(ctx context.Context, records []suite.Record) error {
	all := make([]kafka.Message, len(records))
	for i, r := range records {
		all[i] = kafka.Message{Topic: r.Topic, Key: r.Key, Value: r.Value, Time: r.Time, WriterData: &records[i]}
		for _, h := range r.Headers {
			all[i].Headers = append(all[i].Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
	}
	return p.WriteMessages(ctx, all...)
}

func (p *producer) Begin() error { return suite.ErrUnsupported }
func (p *producer) SendOffsets(context.Context, suite.Consumer, string, string, int64) error {
	return suite.ErrUnsupported
}
func (p *producer) End(context.Context, bool) error { return suite.ErrUnsupported }

func (client) Consumer(addr, id string, c suite.ConsumerConfig) (suite.Consumer, error) {
	if c.InstanceID != "" {
		return nil, fmt.Errorf("%w: no static members", suite.ErrUnsupported)
	}
	if c.NewProtocol {
		return nil, fmt.Errorf("%w: no KIP-848", suite.ErrUnsupported)
	}
	if c.Reset == suite.ResetNone {
		return &fetcher{newClient(addr, id), c.Assign[0]}, nil
	}
	base := kafka.ReaderConfig{Brokers: []string{addr}, Dialer: &kafka.Dialer{ClientID: id, Timeout: 10 * time.Second, DualStack: true}, MaxWait: 100 * time.Millisecond,
		MaxBytes: 1 << 20, ReadBackoffMin: 10 * time.Millisecond, ReadBackoffMax: 100 * time.Millisecond}
	if c.ReadCommitted {
		base.IsolationLevel = kafka.ReadCommitted
	}
	k := &consumer{fetched: make(chan result, 1000), auto: c.AutoCommit}
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	if c.Group != "" {
		base.GroupID, base.Topic, base.StartOffset = c.Group, c.Topic, kafka.FirstOffset
		base.HeartbeatInterval, base.SessionTimeout, base.RebalanceTimeout = 300*time.Millisecond, 8*time.Second, 8*time.Second
		base.JoinGroupBackoff = 200 * time.Millisecond
		k.read(ctx, kafka.NewReader(base))
	}
	for _, s := range c.Assign {
		if c.Reset == suite.ResetEarliest {
			if err := resets(admin{newClient(addr, id)}, s); err != nil {
				return nil, err
			}
		}
		one := base
		one.Topic, one.Partition = s.Topic, int(s.Partition)
		r := kafka.NewReader(one)
		if err := r.SetOffset(s.Offset); err != nil { // kafka-go's special offsets are Kafka's
			return nil, errors.Join(err, r.Close())
		}
		k.read(ctx, r)
	}
	return k, nil
}

type result struct {
	message kafka.Message
	err     error
}

// consumer polls one reader of a group, or one of each partition.
type consumer struct {
	readers []*kafka.Reader
	fetched chan result
	stop    context.CancelFunc
	wait    sync.WaitGroup
	auto    bool
	polled  []kafka.Message
}

func (c *consumer) read(ctx context.Context, r *kafka.Reader) {
	c.readers = append(c.readers, r)
	c.wait.Go(func() {
		for {
			m, err := r.FetchMessage(ctx)
			if ctx.Err() != nil {
				return
			}
			select {
			case c.fetched <- result{m, err}:
			case <-ctx.Done():
				return
			}
			if errors.Is(err, io.EOF) {
				return
			}
		}
	})
}

func (c *consumer) Poll(ctx context.Context) ([]suite.Record, error) {
	var all []suite.Record
	for wait := time.After(200 * time.Millisecond); ; {
		select {
		case r := <-c.fetched:
			if r.err != nil {
				return all, r.err
			}
			m := r.message
			got := suite.Record{Topic: m.Topic, Partition: int32(m.Partition), Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Time}
			for _, h := range m.Headers {
				got.Headers = append(got.Headers, suite.Header{Key: h.Key, Value: h.Value})
			}
			all = append(all, got)
			c.polled = append(c.polled, m)
			if len(c.fetched) > 0 {
				continue
			}
		case <-wait:
		case <-ctx.Done():
		}
		if c.auto && len(c.polled) > 0 && ctx.Err() == nil {
			return all, c.Commit(ctx)
		}
		return all, nil
	}
}

func (c *consumer) Commit(ctx context.Context) error {
	messages := c.polled
	c.polled = nil
	return c.readers[0].CommitMessages(ctx, messages...)
}

func (c *consumer) Close() error {
	c.stop()
	c.wait.Wait()
	var err error
	for _, r := range c.readers {
		err = errors.Join(err, r.Close())
	}
	return err
}

func (client) Admin(addr, id string) (suite.Admin, error) {
	return admin{newClient(addr, id)}, nil
}

func newClient(addr, id string) kafka.Client {
	return kafka.Client{Addr: kafka.TCP(addr), Timeout: 20 * time.Second, Transport: &kafka.Transport{ClientID: id, MetadataTTL: 100 * time.Millisecond}}
}

type admin struct{ kafka.Client }

func (a admin) Close() { a.Transport.(*kafka.Transport).CloseIdleConnections() }

func first(err error, errs map[string]error) error {
	for _, e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

func (a admin) CreateTopic(ctx context.Context, name string, partitions int, configs map[string]string) error {
	t := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}
	for k, v := range configs {
		t.ConfigEntries = append(t.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	response, err := a.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{t}})
	for end := time.Now().Add(10 * time.Second); errors.Is(err, kafka.BrokerNotAvailable) && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond) // no controller is told at the moment, and the client does not ask again
		response, err = a.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{t}})
	}
	if err != nil {
		return err
	}
	return first(nil, response.Errors)
}

func (a admin) DeleteTopic(ctx context.Context, name string) error {
	response, err := a.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err != nil {
		return err
	}
	return first(nil, response.Errors)
}

func (a admin) Topics(ctx context.Context) (map[string]int, error) {
	response, err := a.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	all := map[string]int{}
	for _, t := range response.Topics {
		all[t.Name] = len(t.Partitions)
	}
	return all, nil
}

func (a admin) TopicConfigs(ctx context.Context, name string) (map[string]string, error) {
	response, err := a.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: name}}})
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, r := range response.Resources {
		err = errors.Join(err, r.Error)
		for _, c := range r.ConfigEntries {
			all[c.ConfigName] = c.ConfigValue
		}
	}
	return all, err
}

func (a admin) SetTopicConfig(ctx context.Context, name, key, value string) error {
	response, err := a.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: name, Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: key, Value: value, ConfigOperation: kafka.ConfigOperationSet}}}}})
	if err != nil {
		return err
	}
	for _, r := range response.Resources {
		err = errors.Join(err, r.Error)
	}
	return err
}

func (a admin) SetPartitions(ctx context.Context, name string, total int) error {
	response, err := a.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: name, Count: int32(total)}}})
	if err != nil {
		return err
	}
	return first(nil, response.Errors)
}

func (a admin) OffsetFor(ctx context.Context, topic string, partition int32, timestamp int64) (int64, error) {
	response, err := a.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {{Partition: int(partition), Timestamp: timestamp}}}})
	if err != nil {
		return 0, err
	}
	for _, o := range response.Topics[topic] {
		switch timestamp {
		case suite.Earliest:
			return o.FirstOffset, o.Error
		case suite.Latest:
			return o.LastOffset, o.Error
		}
		for offset := range o.Offsets {
			return offset, o.Error
		}
		return -1, o.Error
	}
	return 0, fmt.Errorf("no answer")
}

func (a admin) DeleteRecords(context.Context, string, int32, int64) error {
	return suite.ErrUnsupported
}

func (a admin) Groups(ctx context.Context) ([]string, error) {
	response, err := a.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	var all []string
	for _, g := range response.Groups {
		all = append(all, g.GroupID)
	}
	return all, response.Error
}

func (a admin) GroupState(ctx context.Context, group string) (string, error) {
	response, err := a.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return "", err
	}
	return response.Groups[0].GroupState, response.Groups[0].Error
}

func (a admin) GroupOffsets(ctx context.Context, group, topic string) (map[int32]int64, error) {
	response, err := a.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2, 3}}})
	if err != nil {
		return nil, err
	}
	all := map[int32]int64{}
	for _, p := range response.Topics[topic] {
		all[int32(p.Partition)] = p.CommittedOffset
	}
	return all, response.Error
}

func (a admin) DeleteGroup(ctx context.Context, group string) error {
	response, err := a.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return first(nil, response.Errors)
}

func (a admin) GroupType(context.Context, string) (string, error) {
	return "", suite.ErrUnsupported
}
