package keyframer

import (
	"context"
	"fmt"

	"github.com/keyframelog/keyframe/storage/table"
)

// CutAt returns the newest frame of a partition at or above an offset. If there is none, one is cut at the last stable offset: all who ask
// while a cut of the topic is under way wait for it, and find the frame of the first of them.
// Errors: ErrAboveStable, and as Cut and Partition.
func (k *Keyframer) CutAt(ctx context.Context, topic string, index int32, offset int64) (table.Frame, error) {
	t, ok := k.Topic(topic)
	if !ok {
		return table.Frame{}, fmt.Errorf("%w: %s", ErrUnknownTopic, topic)
	}
	p, err := t.Partition(index)
	if err != nil {
		return table.Frame{}, err
	}
	if f, ok, err := p.newestFrom(offset); ok || err != nil {
		return f, err
	}
	if t.Settings().Paused {
		return table.Frame{}, fmt.Errorf("%w: %s", ErrNotKeyFramed, topic)
	}
	end, err := t.beginCut(ctx)
	if err != nil {
		return table.Frame{}, fmt.Errorf("cut %s/%d: %w", topic, index, err)
	}
	defer end()
	if f, ok, err := p.newestFrom(offset); ok || err != nil {
		return f, err
	}
	return p.cutAt(ctx, offset)
}

// newestFrom returns the newest frame that stays, if it lies at or above an offset.
func (p *Partition) newestFrom(offset int64) (f table.Frame, ok bool, err error) {
	err = p.Retain(func(r Retained) error {
		f, ok = r.Newest()
		ok = ok && f.Cut >= offset
		return nil
	})
	return f, ok, err
}

// cutAt cuts a frame at the last stable offset.
func (p *Partition) cutAt(ctx context.Context, offset int64) (table.Frame, error) {
	held, timeMs, err := p.topic.hold(p)
	defer unhold(held)
	if err != nil {
		return table.Frame{}, err
	}
	target := p.log.Bounds().LastStable
	if target < offset || target == 0 {
		return table.Frame{}, fmt.Errorf("%w: %s/%d: %d, last stable offset %d", ErrAboveStable, p.topic.Name, p.Index, offset, target)
	}
	if err := p.await(ctx, p.ask(target, timeMs)); err != nil {
		return table.Frame{}, err
	}
	f, err := p.table.Frame(target)
	if err != nil {
		return f, fmt.Errorf("%s/%d: %w", p.topic.Name, p.Index, err)
	}
	return f, nil
}
