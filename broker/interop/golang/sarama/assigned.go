package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/keyframelog/keyframe/broker/interop/golang/suite"
)

func newAssigned(addr string, c *sarama.Config, cc suite.ConsumerConfig) (*assigned, error) {
	if cc.Reset == suite.ResetEarliest {
		return nil, fmt.Errorf("%w: an assignment has no reset policy, its user begins anew", suite.ErrUnsupported)
	}
	c.Consumer.Return.Errors = true
	k, err := sarama.NewConsumer([]string{addr}, c)
	if err != nil {
		return nil, err
	}
	a := &assigned{Consumer: k, records: make(chan *sarama.ConsumerMessage, 1000), failed: make(chan error, 1)}
	for _, s := range cc.Assign { // sarama's special offsets are Kafka's
		p, err := k.ConsumePartition(s.Topic, s.Partition, s.Offset)
		if err != nil {
			return nil, errors.Join(outOfRange(err), a.Close())
		}
		a.partitions = append(a.partitions, p)
		go a.watch(p.Errors())
		go func() {
			for m := range p.Messages() {
				a.records <- m
			}
		}()
	}
	return a, nil
}

// assigned reads partitions without a group.
type assigned struct {
	sarama.Consumer
	partitions []sarama.PartitionConsumer
	records    chan *sarama.ConsumerMessage
	failed     chan error // out of range
}

// watch keeps the error that ends a partition's reading; others sarama deals with itself.
func (a *assigned) watch(errs <-chan *sarama.ConsumerError) {
	for e := range errs {
		if errors.Is(e, sarama.ErrOffsetOutOfRange) {
			select {
			case a.failed <- outOfRange(e):
			default:
			}
		}
	}
}

func outOfRange(err error) error {
	if errors.Is(err, sarama.ErrOffsetOutOfRange) {
		return fmt.Errorf("%w: %w", suite.ErrOutOfRange, err)
	}
	return err
}

func (a *assigned) Poll(context.Context) ([]suite.Record, error) {
	select {
	case err := <-a.failed:
		return nil, err
	default:
		return received(a.records), nil
	}
}

func (a *assigned) Commit(context.Context) error { return nil }

func (a *assigned) Close() error {
	for _, p := range a.partitions {
		p.AsyncClose()
	}
	for end := time.After(300 * time.Millisecond); ; {
		select {
		case <-a.records: // so that no partition waits for its reader
			continue
		case <-end:
		}
		return a.Consumer.Close()
	}
}
