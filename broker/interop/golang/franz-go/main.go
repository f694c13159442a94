// Command franz-go drives franz-go (kgo, kadm).
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/interop/golang/suite"
)

func main() { suite.Main(client{}, "github.com/twmb/franz-go") }

type client struct{}

var codecs = map[string]kgo.CompressionCodec{"": kgo.NoCompression(), "none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}

func (client) Producer(addr, id string, c suite.ProducerConfig) (suite.Producer, error) {
	options := []kgo.Opt{kgo.SeedBrokers(addr), kgo.ClientID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[c.Codec])}
	if c.BatchBytesMax > 0 {
		options = append(options, kgo.ProducerBatchMaxBytes(int32(c.BatchBytesMax)))
	}
	if c.TransactionalID != "" {
		options = append(options, kgo.TransactionalID(c.TransactionalID))
	} else if !c.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	cl, err := kgo.NewClient(options...)
	return &producer{cl}, err
}

type producer struct{ *kgo.Client }

func (p *producer) Send(ctx context.Context, records []suite.Record) error {
	all := make([]*kgo.Record, len(records))
	for i, r := range records {
		all[i] = &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Time}
		for _, h := range r.Headers {
			all[i].Headers = append(all[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	err := p.ProduceSync(ctx, all...).FirstErr()
	for i := range records {
		records[i].Offset = all[i].Offset
	}
	return err
}

func (p *producer) Begin() error { return p.BeginTransaction() }

func (p *producer) SendOffsets(ctx context.Context, c suite.Consumer, group, topic string, offset int64) error {
	member, generation := c.(*consumer).GroupMetadata()
	pid, epoch, err := p.ProducerID(ctx)
	if err != nil {
		return err
	}
	transactionalID, _ := p.OptValue(kgo.TransactionalID).(string)
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = transactionalID, pid, epoch, group
	added, err := add.RequestWith(ctx, p.Client)
	if err == nil {
		err = kerr.ErrorForCode(added.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("AddOffsetsToTxn: %w", err)
	}
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch = transactionalID, pid, epoch
	commit.Group, commit.MemberID, commit.Generation = group, member, generation
	commit.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: offset, LeaderEpoch: -1}}}}
	committed, err := commit.RequestWith(ctx, p.Client)
	if err != nil {
		return fmt.Errorf("TxnOffsetCommit: %w", err)
	}
	return kerr.ErrorForCode(committed.Topics[0].Partitions[0].ErrorCode)
}

func (p *producer) End(ctx context.Context, commit bool) error {
	return p.EndTransaction(ctx, kgo.TransactionEndTry(commit))
}

func (p *producer) Close() error { p.Client.Close(); return nil }

func (client) Consumer(addr, id string, c suite.ConsumerConfig) (suite.Consumer, error) {
	options := []kgo.Opt{kgo.SeedBrokers(addr), kgo.ClientID(id), kgo.FetchMaxWait(300 * time.Millisecond)}
	if c.ReadCommitted {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if c.Group != "" {
		options = append(options, kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(c.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.SessionTimeout(8*time.Second), kgo.HeartbeatInterval(300*time.Millisecond), kgo.AutoCommitInterval(500*time.Millisecond))
		if !c.AutoCommit {
			options = append(options, kgo.DisableAutoCommit())
		}
		if c.InstanceID != "" {
			options = append(options, kgo.InstanceID(c.InstanceID))
		}
		if c.NewProtocol {
			options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
		}
	} else {
		from := map[string]map[int32]kgo.Offset{}
		for _, s := range c.Assign {
			if from[s.Topic] == nil {
				from[s.Topic] = map[int32]kgo.Offset{}
			}
			from[s.Topic][s.Partition] = kgo.NewOffset().At(s.Offset)
		}
		options = append(options, kgo.ConsumePartitions(from))
		switch c.Reset {
		case suite.ResetNone:
			options = append(options, kgo.ConsumeResetOffset(kgo.NoResetOffset()))
		case suite.ResetEarliest:
			options = append(options, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		}
	}
	cl, err := kgo.NewClient(options...)
	return &consumer{cl}, err
}

type consumer struct{ *kgo.Client }

func (c *consumer) Poll(ctx context.Context) ([]suite.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	fetches := c.PollFetches(ctx)
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, kerr.OffsetOutOfRange) {
			return nil, fmt.Errorf("%w: %w", suite.ErrOutOfRange, e.Err)
		}
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			return nil, fmt.Errorf("%s/%d: %w", e.Topic, e.Partition, e.Err)
		}
	}
	var all []suite.Record
	fetches.EachRecord(func(r *kgo.Record) {
		got := suite.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Time: r.Timestamp}
		for _, h := range r.Headers {
			got.Headers = append(got.Headers, suite.Header{Key: h.Key, Value: h.Value})
		}
		all = append(all, got)
	})
	return all, nil
}

func (c *consumer) Commit(ctx context.Context) error { return c.CommitUncommittedOffsets(ctx) }
func (c *consumer) Close() error                     { c.CloseAllowingRebalance(); return nil }

func (client) Admin(addr, id string) (suite.Admin, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID(id))
	return admin{kadm.NewClient(cl)}, err
}

type admin struct{ *kadm.Client }

func (a admin) CreateTopic(ctx context.Context, name string, partitions int, configs map[string]string) error {
	pointers := map[string]*string{}
	for k, v := range configs {
		pointers[k] = &v
	}
	_, err := a.Client.CreateTopic(ctx, int32(partitions), -1, pointers, name)
	return err
}

func (a admin) DeleteTopic(ctx context.Context, name string) error {
	_, err := a.Client.DeleteTopic(ctx, name)
	return err
}

func (a admin) Topics(ctx context.Context) (map[string]int, error) {
	details, err := a.ListTopics(ctx)
	all := map[string]int{}
	for name, d := range details {
		all[name] = len(d.Partitions)
	}
	return all, err
}

func (a admin) TopicConfigs(ctx context.Context, name string) (map[string]string, error) {
	resources, err := a.DescribeTopicConfigs(ctx, name)
	all := map[string]string{}
	for _, r := range resources {
		err = errors.Join(err, r.Err)
		for _, c := range r.Configs {
			all[c.Key] = c.MaybeValue()
		}
	}
	return all, err
}

func (a admin) SetTopicConfig(ctx context.Context, name, key, value string) error {
	responses, err := a.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: key, Value: &value}}, name)
	for _, r := range responses {
		err = errors.Join(err, r.Err)
	}
	return err
}

func (a admin) SetPartitions(ctx context.Context, name string, total int) error {
	responses, err := a.UpdatePartitions(ctx, total, name)
	return errors.Join(err, responses.Error())
}

func (a admin) OffsetFor(ctx context.Context, topic string, partition int32, timestamp int64) (int64, error) {
	list := func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		return a.ListOffsetsAfterMilli(ctx, timestamp, topics...)
	}
	switch timestamp {
	case suite.Earliest:
		list = a.ListStartOffsets
	case suite.Latest:
		list = a.ListEndOffsets
	}
	listed, err := list(ctx, topic)
	if err != nil {
		return 0, err
	}
	o, _ := listed.Lookup(topic, partition)
	return o.Offset, o.Err
}

func (a admin) DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error {
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, before, -1)
	responses, err := a.Client.DeleteRecords(ctx, offsets)
	return errors.Join(err, responses.Error())
}

func (a admin) Groups(ctx context.Context) ([]string, error) {
	listed, err := a.ListGroups(ctx)
	return listed.Groups(), err
}

func (a admin) GroupState(ctx context.Context, group string) (string, error) {
	described, err := a.DescribeGroups(ctx, group)
	return described[group].State, errors.Join(err, described.Error())
}

func (a admin) GroupOffsets(ctx context.Context, group, topic string) (map[int32]int64, error) {
	responses, err := a.FetchOffsets(ctx, group)
	all := map[int32]int64{}
	for p, o := range responses[topic] {
		all[p] = o.At
	}
	return all, err
}

func (a admin) DeleteGroup(ctx context.Context, group string) error {
	_, err := a.Client.DeleteGroup(ctx, group)
	return err
}

func (a admin) GroupType(ctx context.Context, group string) (string, error) {
	listed, err := a.ListGroups(ctx)
	return listed[group].GroupType, err
}
