package drill

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/drill/proxy"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/frame"
)

// loseBeforeLog has the last write of a program acknowledged by a middleman who does not pass it on, and then compares what was written with the log,
// as whoever has the full state can.
func (f *field) loseBeforeLog(ctx context.Context) (found Finding, err error) {
	middle, err := proxy.Start(f.s.kafkaAddr())
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, middle.Close()) }()
	key, swallowed, err := f.writeThrough(ctx, middle)
	if err != nil {
		return found, err
	}
	found = Finding{Fault: BeforeLog, Topic: f.topic, Injected: swallowed.Base(), Harmed: 1, By: ByReconcile}
	mark := f.untouched.mark()
	for _, n := range f.between()[1:] {
		if _, err := f.produceBatch(ctx, n); err != nil {
			return found, err
		}
	}
	frame, err := f.s.cut(ctx, f.topic)
	if err != nil {
		return found, err
	}
	if _, _, err := f.untouched.awaitVerdict(ctx, mark, frame.Cut); err != nil { // equal to a log that is not what was written
		return found, err
	}
	return found, f.publish(ctx, middle, &found, key, swallowed.Time())
}

// writeThrough is a program that writes through a middleman: all but the last of its deltas reach the log, and all are acknowledged.
func (f *field) writeThrough(ctx context.Context, middle *proxy.Proxy) (key string, swallowed *proxy.Fault, err error) {
	producer, err := f.newProducer(ctx, middle.Addr())
	if err != nil {
		return "", nil, err
	}
	defer producer.Close()
	var records []*kgo.Record
	for range f.between()[0] {
		records = append(records, f.change(f.nextKey()))
	}
	first, err := f.send(ctx, producer, records)
	if err != nil {
		return "", nil, err
	}
	swallowed = proxy.Swallow(f.topic, 0, first+int64(len(records)))
	middle.Inject(swallowed)
	key = f.nextKey()
	if _, err := f.send(ctx, producer, []*kgo.Record{f.change(key)}); err != nil {
		return "", nil, err
	}
	<-swallowed.Done() // it was acknowledged
	return key, swallowed, nil
}

// publish makes the log what was written, and measures what that takes.
func (f *field) publish(ctx context.Context, middle *proxy.Proxy, found *Finding, key string, injected time.Time) (err error) {
	var m meter
	http := m.client()
	defer http.CloseIdleConnections()
	before := middle.Bytes()
	producer, err := client.NewProducer(ctx, client.ProducerConfig{
		Brokers: []string{middle.Addr()}, Topic: f.topic, Fold: f.kind, StateURL: f.s.stateURL(), HTTPClient: http,
	})
	if err != nil {
		return err
	}
	defer producer.Close()
	var named []string
	var detected time.Time
	done, err := producer.PublishState(ctx, f.rows(), client.PublishOptions{OnDifference: func(d client.Difference) {
		if named = append(named, string(d.Key)); detected.IsZero() {
			detected = time.Now()
		}
	}})
	if err != nil {
		return err
	}
	if found.Detected = len(named) > 0; !found.Detected {
		return nil
	}
	found.At, found.After, found.In = done.Offsets[0], detected.Sub(injected), time.Since(detected)
	found.Method, found.Keys, found.Bytes = done.Method, done.Written, m.bytes.Load()+middle.Bytes()-before
	found.Exact = len(named) == 1 && named[0] == key && done.Written == 1
	if found.WholeFrame, err = f.s.wholeFrame(ctx, f.topic, done.Offsets[0]); err != nil {
		return err
	}
	equal, err := f.equalAtNext(ctx, f.untouched)
	found.Repaired = equal && done.Verdict == client.Equal
	return err
}

// rows is the state as it was produced.
func (f *field) rows() iter.Seq2[client.Row, error] {
	return func(yield func(client.Row, error) bool) {
		for key, value := range f.state {
			if !yield(client.Row{Row: frame.Row{Key: []byte(key), Value: []byte(value)}}, nil) {
				return
			}
		}
	}
}
