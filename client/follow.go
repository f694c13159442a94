package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/keyframelog/keyframe/client/plane"
)

// learnOnce asks for what the state plane knows of the partitions, once: a plane that is down must not keep a stored
// replica from opening.
func (r *Replica) learnOnce(ctx context.Context) {
	if r.plane == nil {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := r.plane.Frames(bounded, nil, false, r.learn); err != nil && ctx.Err() == nil {
		r.cfg.Logger.Warn("replica: the state plane did not answer", "topic", r.cfg.Topic, "err", err)
	}
}

// followFrames keeps the Frames stream open and tells the partitions of what is cut. Where a stream falls silent, what was missed is asked for at once, by a
// call that has an end: what stands in between may pass these and hold back the next stream as it did this one.
func (r *Replica) followFrames(ctx context.Context) {
	if r.plane == nil {
		r.watchPartitions(ctx)
		return
	}
	_ = r.retry(ctx, func() error {
		if err := r.plane.Frames(ctx, nil, true, r.learn); err != nil {
			return err
		}
		return io.ErrUnexpectedEOF // it is not meant to end
	}, func(err error) {
		r.cfg.Logger.Warn("replica: the stream of frames broke", "topic", r.cfg.Topic, "err", err)
		if errors.Is(err, plane.ErrSilent) {
			r.learnOnce(ctx)
		}
	})
}

// watchPartitions asks the data plane for the topic's partitions now and then, where no state plane tells of new ones.
func (r *Replica) watchPartitions(ctx context.Context) {
	for plane.Wait(ctx, r.cfg.Retry<<9) == nil { // 51 s; Kafka's clients look every 5 minutes
		if err := r.checkPartitions(ctx); errors.Is(err, ErrPartitions) {
			for _, p := range r.partitions {
				p.restartWith(restart{event: TopicGrew, err: err, halt: true})
			}
			return
		} else if err != nil && ctx.Err() == nil {
			r.cfg.Logger.Warn("replica: the topic's partitions are not known", "topic", r.cfg.Topic, "err", err)
		}
	}
}

func (r *Replica) learn(parts []plane.Partition, frames []plane.Frame) error {
	for _, info := range parts {
		if p := r.partitions[info.Partition]; p != nil {
			p.observe(info)
		} else if r.cfg.Partitions == nil {
			r.outgrown(info)
		}
	}
	for _, f := range frames {
		if p := r.partitions[f.Partition]; p != nil {
			p.announce(f)
		}
	}
	return nil
}

// outgrown ends following: a replica of all partitions does not go on with a part of them.
func (r *Replica) outgrown(info plane.Partition) {
	err := fmt.Errorf("%w: %s has a partition %d, the replica was opened with %d: open it again", ErrPartitions, r.cfg.Topic, info.Partition, len(r.numbers))
	for _, p := range r.partitions {
		p.restartWith(restart{event: TopicGrew, err: err, halt: true})
	}
}

// order queues an assignment. The tail goroutine carries it out between two polls, so that no segment of a former
// assignment can be taken for one of the new.
func (r *Replica) order(o order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.orders = append(r.orders, o)
	if r.wakeTail != nil {
		r.wakeTail()
	}
}

// runTail polls the log and applies what comes, partitions beside each other.
func (r *Replica) runTail(ctx context.Context) {
	_ = r.retry(ctx, func() error {
		for {
			pollCtx := r.carryOut(ctx)
			segments, err := r.tail.poll(pollCtx)
			if ctx.Err() != nil {
				return nil
			}
			var all sync.WaitGroup
			for _, byPartition := range group(segments) {
				all.Go(func() {
					for _, s := range byPartition {
						if p := r.partitions[s.partition]; p != nil {
							p.apply(ctx, s)
						}
					}
				})
			}
			all.Wait()
			if err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
		}
	}, func(err error) {
		r.event(Event{Kind: TailFailed, Partition: -1, Offset: -1, Err: err})
		r.callbacks.wait(-1, toldBehind, r.done)
	})
}

// carryOut does what was ordered and returns the context of the next poll, which the next order ends.
func (r *Replica) carryOut(ctx context.Context) context.Context {
	r.mu.Lock()
	orders := r.orders
	r.orders = nil
	pollCtx, cancel := context.WithCancel(ctx)
	if r.wakeTail != nil {
		r.wakeTail() // releases the former context
	}
	r.wakeTail = cancel
	r.mu.Unlock()
	for _, o := range orders {
		if o.remove {
			r.tail.remove(o.partition)
		} else {
			r.tail.assign(o.partition, o.offset, o.epoch)
			r.partitions[o.partition].attach(o.generation)
		}
	}
	return pollCtx
}

// group sorts segments by partition and keeps their order within one.
func group(segments []segment) map[int32][]segment {
	out := make(map[int32][]segment, len(segments))
	for _, s := range segments {
		out[s.partition] = append(out[s.partition], s)
	}
	return out
}
