package client

import (
	"context"
	"fmt"
	"time"
)

// askTimeout bounds the question that keeps the tail of all partitions waiting.
const askTimeout = 10 * time.Second

// missing tells whether a segment goes on behind the position, or lacks offsets itself; then with the state that it cannot simply be
// applied to. See "Rows among the deltas" in the package documentation.
func (p *partition) missing(seg segment) (rows, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.following || p.attached != p.generation || seg.err != nil {
		return nil, false
	}
	s := p.rows()
	at := s.position()
	return s, seg.next > at && (seg.first > at || seg.gaps)
}

// deltasKept returns nil if the log still has every delta from the position of s on, and so had them when it was read before: the
// delta start offset never goes back.
func (p *partition) deltasKept(ctx context.Context, s rows) error {
	at := s.position()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if p.r.plane == nil {
		return p.aborted(ctx, at)
	}
	info, err := p.r.plane.Partition(ctx, p.no)
	if err != nil {
		return fmt.Errorf("%w: deltas from %d on are missing, and how far back the log keeps them is not known: %w", errOutOfRange, at, err)
	}
	if why, bad := unfit(s, info); bad {
		return why.err
	}
	if info.DeltaStart > at {
		return fmt.Errorf("%w: between %d and %d only rows are left", errOutOfRange, at, info.DeltaStart)
	}
	return nil
}

// aborted returns nil if what is missing at an offset are records of a transaction that the log still has as they were written: they were aborted
// then, and below the delta start offset there are none.
func (p *partition) aborted(ctx context.Context, at int64) error {
	found, err := p.r.tail.inTransaction(ctx, p.no, at)
	if err != nil {
		return fmt.Errorf("%w: deltas from %d on are missing, and what the log has there is not known: %w", errOutOfRange, at, err)
	}
	if !found {
		return fmt.Errorf("%w: deltas from %d on are missing", errOutOfRange, at)
	}
	return nil
}

// gathering is a state that is read from the log's start on, and which nobody sees before it is whole. It is guarded by the
// partition's mu.
type gathering struct {
	rows rows
	gaps int // segments with offsets missing before or in them
	err  error
}

func (g *gathering) take(seg segment) {
	if g.err != nil {
		return
	}
	if at := g.rows.position(); seg.next > at && (seg.first > at || seg.gaps) {
		g.gaps++
	}
	if g.err = seg.err; g.err == nil {
		g.err = g.rows.apply(seg.records, seg.next, seg.epoch, nil)
	}
}

// gather reads the log into s until s is the state at its position: until it is past the end that the log had after the last segment
// with a gap had come. That end is above the delta start offset that the segment was read below.
func (p *partition) gather(ctx context.Context, s rows) error {
	g := &gathering{rows: s}
	p.mu.Lock()
	p.gathering = g
	p.generation++
	o := order{partition: p.no, offset: s.position(), epoch: s.epoch(), generation: p.generation}
	p.mu.Unlock()
	p.r.order(o)
	defer func() {
		p.r.order(order{partition: p.no, remove: true})
		p.mu.Lock()
		defer p.mu.Unlock()
		p.gathering = nil
	}()
	for {
		p.mu.Lock()
		gaps := g.gaps
		p.mu.Unlock()
		topic, err := p.r.tail.describe(ctx)
		if err != nil {
			return err
		}
		if whole, err := p.gatherTo(ctx, g, topic.ends[p.no], gaps); whole || err != nil {
			return err
		}
	}
}

// gatherTo waits until everything below end is gathered. If no gap came on top of those, gathering ends at that moment.
func (p *partition) gatherTo(ctx context.Context, g *gathering, end int64, gaps int) (whole bool, err error) {
	for {
		moved := p.moved.wait()
		p.mu.Lock()
		there := g.err == nil && g.rows.position() >= end
		if whole, err = there && g.gaps == gaps, g.err; whole {
			p.gathering = nil
		}
		p.mu.Unlock()
		if there || err != nil {
			return whole, err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
