package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/keyframelog/keyframe/broker/interop/golang/suite"
)

// fetcher reads with Client.Fetch, which says what a Reader does not: that an offset is out of range.
type fetcher struct {
	client kafka.Client
	at     suite.Start
}

func (f *fetcher) Poll(ctx context.Context) (all []suite.Record, err error) {
	response, err := f.client.Fetch(ctx, &kafka.FetchRequest{Topic: f.at.Topic, Partition: int(f.at.Partition), Offset: f.at.Offset, MinBytes: 1, MaxBytes: 1 << 20,
		MaxWait: 100 * time.Millisecond})
	if err == nil {
		err = response.Error
	}
	if errors.Is(err, kafka.OffsetOutOfRange) {
		return nil, fmt.Errorf("%w: %w", suite.ErrOutOfRange, err)
	}
	for err == nil {
		var r *kafka.Record
		if r, err = response.Records.ReadRecord(); err == nil {
			all, err = f.take(all, r)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return all, err
}

func (f *fetcher) take(all []suite.Record, r *kafka.Record) ([]suite.Record, error) {
	got := suite.Record{Topic: f.at.Topic, Partition: f.at.Partition, Offset: r.Offset, Time: r.Time}
	for _, h := range r.Headers {
		got.Headers = append(got.Headers, suite.Header{Key: h.Key, Value: h.Value})
	}
	var keyErr, valueErr error
	got.Key, keyErr = kafka.ReadAll(r.Key)
	got.Value, valueErr = kafka.ReadAll(r.Value)
	f.at.Offset = r.Offset + 1
	return append(all, got), errors.Join(keyErr, valueErr)
}

func (f *fetcher) Commit(context.Context) error { return suite.ErrUnsupported }

func (f *fetcher) Close() error {
	f.client.Transport.(*kafka.Transport).CloseIdleConnections()
	return nil
}

// resets says whether a Reader moves an assignment to the first offset: one that is below. Above, it asks again and again.
func resets(a suite.Admin, s suite.Start) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	first, err := a.OffsetFor(ctx, s.Topic, s.Partition, suite.Earliest)
	if err == nil && s.Offset >= first {
		err = fmt.Errorf("%w: a Reader asks for an offset above the first again and again", suite.ErrUnsupported)
	}
	return err
}
