package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/drill/proxy"
	"github.com/keyframelog/keyframe/client"
)

// plan is what is to happen to the deltas of one round on their way to the drilled replica.
type plan struct {
	fault  Fault
	at     int64 // the first offset that is harmed
	harmed []string
	inject *proxy.Fault
}

// batchHarmed is which batch of a round is: others come before and behind it, so that nothing is missing at an end.
const batchHarmed = batchesBetween / 2

// lose takes so many records out of the middle.
func (f *field) lose(ctx context.Context, harmed int) (Finding, error) {
	return f.roundWith(ctx, harmed+2, func(first int64, n int) (p plan, from, to int) {
		from = (n - harmed) / 2
		at := first + int64(from)
		return plan{fault: Lost, at: at, inject: proxy.Lose(f.topic, 0, at, at+int64(harmed))}, from, from + harmed
	})
}

// loseBatch takes a batch out as a whole.
func (f *field) loseBatch(ctx context.Context) (Finding, error) {
	return f.roundWith(ctx, 0, func(first int64, n int) (p plan, from, to int) {
		return plan{fault: LostBatch, at: first, inject: proxy.Lose(f.topic, 0, first, first+int64(n))}, 0, n
	})
}

// mutate changes a bit of so many values.
func (f *field) mutate(ctx context.Context, harmed int) (Finding, error) {
	return f.roundWith(ctx, harmed+2, func(first int64, n int) (p plan, from, to int) {
		from = (n - harmed) / 2
		at := first + int64(from)
		return plan{fault: Mutated, at: at, inject: proxy.Change(f.topic, 0, at, at+int64(harmed), func(value []byte) []byte {
			value[len(value)/2] ^= 1
			return value
		})}, from, from + harmed
	})
}

// roundWith makes a round of deltas, a part of which, of one batch or of so many deltas, is harmed: plan says how, from the offset that its first will
// have, and which of its keys are.
func (f *field) roundWith(ctx context.Context, deltas int, make func(first int64, n int) (p plan, from, to int)) (Finding, error) {
	mark := f.drilled.mark()
	var p plan
	for i, n := range f.between() {
		if i != batchHarmed {
			if _, err := f.produceBatch(ctx, n); err != nil {
				return Finding{}, err
			}
			continue
		}
		first, err := f.s.end(ctx, f.topic)
		if err != nil {
			return Finding{}, err
		}
		n = max(n, deltas)
		var from, to int
		p, from, to = make(first, n)
		f.s.proxy.Inject(p.inject)
		batches, err := f.produce(ctx, n)
		if err != nil {
			return Finding{}, err
		}
		var keys []string
		for _, b := range batches {
			keys = append(keys, b.keys...)
		}
		p.harmed = keys[from:to]
	}
	return f.follow(ctx, mark, &p)
}

// double sends so many deltas in a transaction that is aborted, as a program does that could not go on, and again in one that is not.
func (f *field) double(ctx context.Context, harmed int) (Finding, error) {
	mark := f.drilled.mark()
	between := f.between()
	for _, n := range between[:batchHarmed] {
		if _, err := f.produceBatch(ctx, n); err != nil {
			return Finding{}, err
		}
	}
	p := plan{fault: Doubled}
	for range harmed {
		p.harmed = append(p.harmed, f.nextKey())
	}
	if err := f.sendTwice(ctx, &p); err != nil {
		return Finding{}, err
	}
	for _, n := range between[batchHarmed:] {
		if _, err := f.produceBatch(ctx, n); err != nil {
			return Finding{}, err
		}
	}
	return f.follow(ctx, mark, &p)
}

// sendTwice sends the plan's deltas, aborts them, and sends them again.
func (f *field) sendTwice(ctx context.Context, p *plan) (err error) {
	if p.at, err = f.s.end(ctx, f.topic); err != nil {
		return err
	}
	p.inject = proxy.HideAbort(f.topic, 0, p.at)
	f.s.proxy.Inject(p.inject)
	producer, err := f.newProducer(ctx, f.s.kafkaAddr(), kgo.TransactionalID("drill"))
	if err != nil {
		return err
	}
	defer producer.Close()
	const n = 1
	for _, key := range p.harmed {
		f.add(key, n)
	}
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := producer.Client().BeginTransaction(); err != nil {
			return err
		}
		var records []*kgo.Record
		for _, key := range p.harmed {
			records = append(records, producer.Add([]byte(key), n))
		}
		if _, err := f.send(ctx, producer, records); err != nil {
			return err
		}
		if err := producer.Client().EndTransaction(ctx, end); err != nil {
			return fmt.Errorf("end a transaction in %s: %w", f.topic, err)
		}
	}
	return nil
}

// follow waits for the fault, has a key frame cut, and looks what the drilled replica makes of it.
func (f *field) follow(ctx context.Context, mark int, p *plan) (Finding, error) {
	found := Finding{Fault: p.fault, Topic: f.topic, Injected: p.at, Harmed: int64(len(p.harmed)), By: ByKeyFrame}
	asked := time.Now()
	frame, err := f.s.cut(ctx, f.topic)
	if err != nil {
		return found, err
	}
	if err := happened(ctx, p); err != nil {
		return found, err
	}
	told, at, err := f.drilled.awaitVerdict(ctx, mark, frame.Cut)
	if err != nil {
		return found, err
	}
	found.At, found.After, found.AfterCut = told.verdict.At, told.at.Sub(p.inject.Time()), told.at.Sub(asked)
	if found.Detected = told.verdict.Outcome == client.Drifted; found.Detected {
		err = f.awaitRepair(ctx, f.drilled, &found, told, at)
	}
	if err == nil {
		err = f.confirm(ctx, f.drilled, &found, p.harmed)
	}
	return found, err
}

// happened waits for a plan's fault.
func happened(ctx context.Context, p *plan) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-p.inject.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the replica to be given what is %s at %d: %w", p.fault, p.at, ctx.Err())
	}
}

// awaitRepair measures the repair that follows what a replica has told. One that does not repair itself has none.
func (f *field) awaitRepair(ctx context.Context, x *subject, found *Finding, told note, from int) error {
	if f.cfg.OnDrift != client.Repair {
		return nil
	}
	done, _, err := x.awaitEvent(ctx, from, client.Repaired)
	if errors.Is(err, errEnded) {
		return nil // it is not repaired, which the next key frame shows
	}
	if err != nil {
		return err
	}
	r := done.event.Repair
	found.In, found.Bytes, found.Keys, found.Method = done.at.Sub(told.at), done.bytes-told.bytes, r.Keys, r.Method
	found.RoundTrips = r.RoundTrips
	if r.Method == client.ByFrame {
		found.Keys = int64(len(f.state)) // all of them come anew, and which of them differed is not told
	}
	found.WholeFrame, err = f.s.wholeFrame(ctx, f.topic, r.Cut)
	return err
}

// confirm holds what a replica named to what was harmed, and looks whether it is equal from then on.
func (f *field) confirm(ctx context.Context, x *subject, found *Finding, harmed []string) (err error) {
	named := x.differing()
	found.Exact = found.Keys == found.Harmed && len(named) == len(harmed)
	for _, key := range harmed {
		found.Exact = found.Exact && named[key]
	}
	equal, err := f.equalAtNext(ctx, x)
	found.Repaired = equal && found.Detected
	return err
}

// equalAtNext has another key frame cut, after deltas, and tells whether the replica is equal there.
func (f *field) equalAtNext(ctx context.Context, x *subject) (bool, error) {
	mark := x.mark()
	if _, err := f.produceBatch(ctx, f.between()[0]); err != nil {
		return false, err
	}
	frame, err := f.s.cut(ctx, f.topic)
	if err != nil {
		return false, err
	}
	told, _, err := x.awaitVerdict(ctx, mark, frame.Cut)
	return err == nil && told.verdict.Outcome == client.Equal, err
}
