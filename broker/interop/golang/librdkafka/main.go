// Command librdkafka drives librdkafka through confluent-kafka-go, which links it statically.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/keyframelog/keyframe/broker/interop/golang/suite"
)

func main() { suite.Main(client{}, "github.com/confluentinc/confluent-kafka-go/v2") }

type client struct{}

func (client) Producer(addr, id string, c suite.ProducerConfig) (suite.Producer, error) {
	config := kafka.ConfigMap{"bootstrap.servers": addr, "client.id": id, "enable.idempotence": c.Idempotent, "linger.ms": 1, "acks": "all"}
	if c.Codec != "" {
		config["compression.type"] = c.Codec
	}
	if c.BatchBytesMax > 0 {
		config["batch.size"] = c.BatchBytesMax
	}
	if c.TransactionalID != "" {
		config["transactional.id"] = c.TransactionalID
		delete(config, "enable.idempotence")
	}
	p, err := kafka.NewProducer(&config)
	if err == nil && c.TransactionalID != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err = p.InitTransactions(ctx)
	}
	return &producer{p}, err
}

type producer struct{ *kafka.Producer }

func (p *producer) Send(ctx context.Context, records []suite.Record) error {
	delivered := make(chan kafka.Event, len(records))
	for i, r := range records {
		m := &kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &r.Topic, Partition: r.Partition}, Key: r.Key, Value: r.Value,
			Timestamp: r.Time, Opaque: i}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		if err := p.Produce(m, delivered); err != nil {
			return err
		}
	}
	for range records {
		select {
		case e := <-delivered:
			m := e.(*kafka.Message)
			if m.TopicPartition.Error != nil {
				return m.TopicPartition.Error
			}
			records[m.Opaque.(int)].Offset = int64(m.TopicPartition.Offset)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (p *producer) Begin() error { return p.BeginTransaction() }

func (p *producer) SendOffsets(ctx context.Context, c suite.Consumer, _, topic string, offset int64) error {
	metadata, err := c.(*consumer).GetConsumerGroupMetadata()
	if err != nil {
		return err
	}
	return p.SendOffsetsToTransaction(ctx, []kafka.TopicPartition{{Topic: &topic, Offset: kafka.Offset(offset)}}, metadata)
}

func (p *producer) End(ctx context.Context, commit bool) error {
	if commit {
		return p.CommitTransaction(ctx)
	}
	return p.AbortTransaction(ctx)
}

func (p *producer) Close() error {
	p.Flush(2000)
	p.Producer.Close()
	return nil
}

func (client) Consumer(addr, id string, c suite.ConsumerConfig) (suite.Consumer, error) {
	config := kafka.ConfigMap{"bootstrap.servers": addr, "client.id": id, "group.id": id, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100,
		"isolation.level": "read_uncommitted", "enable.auto.commit": c.AutoCommit, "auto.commit.interval.ms": 500, "topic.metadata.refresh.interval.ms": 2000}
	if c.ReadCommitted {
		config["isolation.level"] = "read_committed"
	}
	if c.Group != "" {
		config["group.id"] = c.Group
		if c.NewProtocol {
			config["group.protocol"] = "consumer"
		} else {
			config["session.timeout.ms"], config["heartbeat.interval.ms"] = 8000, 300
		}
		if c.InstanceID != "" {
			config["group.instance.id"] = c.InstanceID
		}
	}
	switch c.Reset {
	case suite.ResetNone:
		config["auto.offset.reset"] = "error"
	case suite.ResetEarliest:
		config["auto.offset.reset"] = "earliest"
	}
	k, err := kafka.NewConsumer(&config)
	if err != nil {
		return nil, err
	}
	if c.Group != "" {
		err = k.Subscribe(c.Topic, nil)
	} else {
		var all []kafka.TopicPartition
		for _, s := range c.Assign {
			offset := kafka.Offset(s.Offset)
			switch s.Offset {
			case suite.Earliest:
				offset = kafka.OffsetBeginning
			case suite.Latest:
				offset = kafka.OffsetEnd
			}
			all = append(all, kafka.TopicPartition{Topic: &s.Topic, Partition: s.Partition, Offset: offset})
		}
		err = k.Assign(all)
	}
	return &consumer{k}, err
}

type consumer struct{ *kafka.Consumer }

func (c *consumer) Poll(context.Context) ([]suite.Record, error) {
	var all []suite.Record
	for wait := 200; len(all) < 500; wait = 0 {
		switch e := c.Consumer.Poll(wait).(type) {
		case nil:
			return all, nil
		case *kafka.Message:
			if e.TopicPartition.Error != nil {
				return all, e.TopicPartition.Error
			}
			got := suite.Record{Topic: *e.TopicPartition.Topic, Partition: e.TopicPartition.Partition, Offset: int64(e.TopicPartition.Offset),
				Key: e.Key, Value: e.Value, Time: e.Timestamp}
			for _, h := range e.Headers {
				got.Headers = append(got.Headers, suite.Header{Key: h.Key, Value: h.Value})
			}
			all = append(all, got)
		case kafka.Error:
			if e.Code() == kafka.ErrAutoOffsetReset {
				return all, fmt.Errorf("%w: %w", suite.ErrOutOfRange, e)
			}
			if e.IsFatal() || e.Code() != kafka.ErrAllBrokersDown && e.Code() != kafka.ErrTransport && !e.IsRetriable() {
				return all, e
			}
		}
	}
	return all, nil
}

func (c *consumer) Commit(context.Context) error {
	_, err := c.Consumer.Commit()
	return err
}

func (client) Admin(addr, id string) (suite.Admin, error) {
	a, err := kafka.NewAdminClient(&kafka.ConfigMap{"bootstrap.servers": addr, "client.id": id})
	return admin{a}, err
}

type admin struct{ *kafka.AdminClient }

func one(err error, e kafka.Error) error {
	if err == nil && e.Code() != kafka.ErrNoError {
		return e
	}
	return err
}

func (a admin) CreateTopic(ctx context.Context, name string, partitions int, configs map[string]string) error {
	results, err := a.CreateTopics(ctx, []kafka.TopicSpecification{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1, Config: configs}})
	for _, r := range results {
		err = one(err, r.Error)
	}
	return err
}

func (a admin) DeleteTopic(ctx context.Context, name string) error {
	results, err := a.DeleteTopics(ctx, []string{name})
	for _, r := range results {
		err = one(err, r.Error)
	}
	return err
}

func (a admin) Topics(context.Context) (map[string]int, error) {
	metadata, err := a.GetMetadata(nil, true, 10000)
	if err != nil {
		return nil, err
	}
	all := map[string]int{}
	for name, t := range metadata.Topics {
		all[name] = len(t.Partitions)
	}
	return all, nil
}

func (a admin) TopicConfigs(ctx context.Context, name string) (map[string]string, error) {
	results, err := a.DescribeConfigs(ctx, []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: name}})
	all := map[string]string{}
	for _, r := range results {
		err = one(err, r.Error)
		for _, c := range r.Config {
			all[c.Name] = c.Value
		}
	}
	return all, err
}

func (a admin) SetTopicConfig(ctx context.Context, name, key, value string) error {
	results, err := a.IncrementalAlterConfigs(ctx, []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: name,
		Config: []kafka.ConfigEntry{{Name: key, Value: value, IncrementalOperation: kafka.AlterConfigOpTypeSet}}}})
	for _, r := range results {
		err = one(err, r.Error)
	}
	return err
}

func (a admin) SetPartitions(ctx context.Context, name string, total int) error {
	results, err := a.CreatePartitions(ctx, []kafka.PartitionsSpecification{{Topic: name, IncreaseTo: total}})
	for _, r := range results {
		err = one(err, r.Error)
	}
	return err
}

func (a admin) OffsetFor(ctx context.Context, topic string, partition int32, timestamp int64) (int64, error) {
	spec := kafka.OffsetSpec(timestamp) // EarliestOffsetSpec is -2 and LatestOffsetSpec -1 too
	results, err := a.ListOffsets(ctx, map[kafka.TopicPartition]kafka.OffsetSpec{{Topic: &topic, Partition: partition}: spec})
	if err != nil {
		return 0, err
	}
	for _, info := range results.ResultInfos {
		return int64(info.Offset), one(nil, info.Error)
	}
	return 0, fmt.Errorf("no answer")
}

func (a admin) DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error {
	results, err := a.AdminClient.DeleteRecords(ctx, []kafka.TopicPartition{{Topic: &topic, Partition: partition, Offset: kafka.Offset(before)}})
	for _, r := range results.DeleteRecordsResults {
		err = errors.Join(err, r.TopicPartition.Error)
	}
	return err
}

func (a admin) Groups(ctx context.Context) ([]string, error) {
	listed, err := a.ListConsumerGroups(ctx)
	var all []string
	for _, g := range listed.Valid {
		all = append(all, g.GroupID)
	}
	return all, errors.Join(append(listed.Errors, err)...)
}

func (a admin) GroupState(ctx context.Context, group string) (string, error) {
	described, err := a.DescribeConsumerGroups(ctx, []string{group})
	if err != nil {
		return "", err
	}
	for _, d := range described.ConsumerGroupDescriptions {
		return strings.TrimSpace(d.State.String()), one(nil, d.Error)
	}
	return "", fmt.Errorf("no answer")
}

func (a admin) GroupOffsets(ctx context.Context, group, _ string) (map[int32]int64, error) {
	listed, err := a.ListConsumerGroupOffsets(ctx, []kafka.ConsumerGroupTopicPartitions{{Group: group}})
	all := map[int32]int64{}
	for _, g := range listed.ConsumerGroupsTopicPartitions {
		for _, p := range g.Partitions {
			all[p.Partition] = int64(p.Offset)
		}
	}
	return all, err
}

func (a admin) DeleteGroup(ctx context.Context, group string) error {
	results, err := a.DeleteConsumerGroups(ctx, []string{group})
	for _, r := range results.ConsumerGroupResults {
		err = one(err, r.Error)
	}
	return err
}

func (a admin) GroupType(ctx context.Context, group string) (string, error) {
	listed, err := a.ListConsumerGroups(ctx)
	for _, g := range listed.Valid {
		if g.GroupID == group {
			return strings.ToLower(g.Type.String()), nil
		}
	}
	return "", errors.Join(append(listed.Errors, err)...)
}
