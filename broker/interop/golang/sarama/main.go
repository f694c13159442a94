// Command sarama drives IBM/sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/keyframelog/keyframe/broker/interop/golang/suite"
)

func main() { suite.Main(client{}, "github.com/IBM/sarama") }

type client struct{}

func config(id string) *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID, c.Version = id, sarama.MaxVersion
	c.Producer.Return.Successes, c.Producer.Partitioner = true, sarama.NewManualPartitioner
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	return c
}

var codecs = map[string]sarama.CompressionCodec{"gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4,
	"zstd": sarama.CompressionZSTD}

func (client) Producer(addr, id string, pc suite.ProducerConfig) (suite.Producer, error) {
	c := config(id)
	c.Producer.Compression = codecs[pc.Codec]
	if pc.BatchBytesMax > 0 {
		c.Producer.Flush.Bytes = pc.BatchBytesMax
		c.Producer.Flush.Frequency = 5 * time.Millisecond
	}
	if pc.Idempotent || pc.TransactionalID != "" {
		c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.Transaction.ID = true, 1, pc.TransactionalID
	}
	p, err := sarama.NewSyncProducer([]string{addr}, c)
	return &producer{p}, err
}

type producer struct{ sarama.SyncProducer }

// bytes keeps null: an encoder of no bytes is an empty value.
func bytes(b []byte) sarama.Encoder {
	if b == nil {
		return nil
	}
	return sarama.ByteEncoder(b)
}

func (p *producer) Send(_ context.Context, records []suite.Record) error {
	all := make([]*sarama.ProducerMessage, len(records))
	for i, r := range records {
		all[i] = &sarama.ProducerMessage{Topic: r.Topic, Partition: r.Partition, Timestamp: r.Time, Key: bytes(r.Key), Value: bytes(r.Value)}
		for _, h := range r.Headers {
			all[i].Headers = append(all[i].Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
	}
	err := p.SendMessages(all)
	for i := range records {
		records[i].Offset = all[i].Offset
	}
	return err
}

func (p *producer) Begin() error { return p.BeginTxn() }

func (p *producer) SendOffsets(_ context.Context, _ suite.Consumer, group, topic string, offset int64) error {
	return p.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{topic: {{Offset: offset}}}, group)
}

func (p *producer) End(_ context.Context, commit bool) error {
	if commit {
		return p.CommitTxn()
	}
	return p.AbortTxn()
}

func (client) Consumer(addr, id string, cc suite.ConsumerConfig) (suite.Consumer, error) {
	c := config(id)
	if cc.ReadCommitted {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	if cc.NewProtocol {
		return nil, fmt.Errorf("%w: no KIP-848", suite.ErrUnsupported)
	}
	if cc.Group != "" {
		return newMember(addr, c, cc)
	}
	return newAssigned(addr, c, cc)
}

func received(from chan *sarama.ConsumerMessage) []suite.Record {
	var all []suite.Record
	wait := time.After(200 * time.Millisecond)
	for {
		select {
		case m := <-from:
			got := suite.Record{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Timestamp}
			for _, h := range m.Headers {
				got.Headers = append(got.Headers, suite.Header{Key: string(h.Key), Value: h.Value})
			}
			all = append(all, got)
			if len(from) > 0 {
				continue
			}
			return all
		case <-wait:
			return all
		}
	}
}

// member of a group: sarama calls back, the suite polls.
type member struct {
	group   sarama.ConsumerGroup
	records chan *sarama.ConsumerMessage
	stop    context.CancelFunc
	done    chan error
	session chan sarama.ConsumerGroupSession
}

func newMember(addr string, c *sarama.Config, cc suite.ConsumerConfig) (*member, error) {
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable, c.Consumer.Offsets.AutoCommit.Interval = cc.AutoCommit, 500*time.Millisecond
	c.Consumer.Group.Session.Timeout, c.Consumer.Group.Heartbeat.Interval = 8*time.Second, 300*time.Millisecond
	c.Consumer.Group.InstanceId = cc.InstanceID
	g, err := sarama.NewConsumerGroup([]string{addr}, cc.Group, c)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{group: g, records: make(chan *sarama.ConsumerMessage), stop: stop, done: make(chan error, 1),
		session: make(chan sarama.ConsumerGroupSession, 1)}
	go func() {
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{cc.Topic}, m); err != nil {
				m.done <- err
				return
			}
		}
		m.done <- nil
	}()
	return m, nil
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	select {
	case <-m.session:
	default:
	}
	m.session <- s
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			select {
			case m.records <- message:
				s.MarkMessage(message, "")
			case <-s.Context().Done():
				return nil
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func (m *member) Poll(context.Context) ([]suite.Record, error) {
	select {
	case err := <-m.done:
		m.done <- err
		return nil, err
	default:
		return received(m.records), nil
	}
}

func (m *member) Commit(context.Context) error {
	s := <-m.session
	s.Commit()
	m.session <- s
	return nil
}

func (m *member) Close() error {
	m.stop()
	err := <-m.done
	m.done <- nil
	return errors.Join(err, m.group.Close())
}

func (client) Admin(addr, id string) (suite.Admin, error) {
	k, err := sarama.NewClient([]string{addr}, config(id))
	if err != nil {
		return nil, err
	}
	a, err := sarama.NewClusterAdminFromClient(k)
	return admin{a, k}, err
}

type admin struct {
	sarama.ClusterAdmin
	client sarama.Client
}

func (a admin) Close() { _ = a.ClusterAdmin.Close() }

func (a admin) CreateTopic(_ context.Context, name string, partitions int, configs map[string]string) error {
	pointers := map[string]*string{}
	for k, v := range configs {
		pointers[k] = &v
	}
	return a.ClusterAdmin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1, ConfigEntries: pointers}, false)
}

func (a admin) DeleteTopic(_ context.Context, name string) error {
	return a.ClusterAdmin.DeleteTopic(name)
}

func (a admin) Topics(context.Context) (map[string]int, error) {
	topics, err := a.ListTopics()
	all := map[string]int{}
	for name, t := range topics {
		all[name] = int(t.NumPartitions)
	}
	return all, err
}

func (a admin) TopicConfigs(_ context.Context, name string) (map[string]string, error) {
	entries, err := a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: name})
	all := map[string]string{}
	for _, e := range entries {
		all[e.Name] = e.Value
	}
	return all, err
}

func (a admin) SetTopicConfig(_ context.Context, name, key, value string) error {
	return a.IncrementalAlterConfig(sarama.TopicResource, name,
		map[string]sarama.IncrementalAlterConfigsEntry{key: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false)
}

func (a admin) SetPartitions(_ context.Context, name string, total int) error {
	return a.CreatePartitions(name, int32(total), nil, false)
}

func (a admin) OffsetFor(_ context.Context, topic string, partition int32, timestamp int64) (int64, error) {
	return a.client.GetOffset(topic, partition, timestamp)
}

func (a admin) DeleteRecords(_ context.Context, topic string, partition int32, before int64) error {
	return a.ClusterAdmin.DeleteRecords(topic, map[int32]int64{partition: before})
}

func (a admin) Groups(context.Context) ([]string, error) {
	listed, err := a.ListConsumerGroups()
	var all []string
	for name := range listed {
		all = append(all, name)
	}
	return all, err
}

func (a admin) GroupState(_ context.Context, group string) (string, error) {
	described, err := a.DescribeConsumerGroups([]string{group})
	if err != nil {
		return "", err
	}
	return described[0].State, nil
}

func (a admin) GroupOffsets(_ context.Context, group, topic string) (map[int32]int64, error) {
	response, err := a.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1, 2, 3}})
	if err != nil {
		return nil, err
	}
	all := map[int32]int64{}
	for p, b := range response.Blocks[topic] {
		all[p] = b.Offset
	}
	return all, nil
}

func (a admin) DeleteGroup(_ context.Context, group string) error {
	return a.DeleteConsumerGroup(group)
}

func (a admin) GroupType(context.Context, string) (string, error) {
	return "", suite.ErrUnsupported
}
