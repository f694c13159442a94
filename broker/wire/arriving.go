package wire

import (
	"context"
	"sync"
	"time"
)

// arrivals bounds the memory of frames that have not come whole. A frame takes room as its buffer grows, so a peer holds what it
// has sent, a few times over, and not what it announced, or what it has sent whole before; requests in work have a budget of their
// own, which such a peer does not touch.
//
// Frames that wait for room hold some, so they could wait for each other for ever. One frame at a time may therefore pass the
// limit: it never waits, comes whole or is cut by its deadline, and the next one takes its place.
type arrivals struct {
	limit int64

	mu     sync.Mutex
	held   int64         // guarded by mu, as what follows
	beyond *arrival      // the frame that may pass the limit; nil: none needs to
	freed  chan struct{} // closed and replaced when something was given back
}

// arrival is one frame on its way.
type arrival struct {
	all  *arrivals
	held int64
}

func newArrivals(limit int64) *arrivals { return &arrivals{limit: limit, freed: make(chan struct{})} }

// trust returns how much of size the frame may hold before it has come: all of it while half of the room is free, else a little.
func (f *arrival) trust(size int) int {
	const little = 1 << 20
	a := f.all
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held+int64(size) > a.limit/2 {
		return min(size, little)
	}
	return size
}

// grow waits until the frame may hold size bytes, and says for how long.
func (f *arrival) grow(ctx context.Context, draining <-chan struct{}, size int) (waited time.Duration, err error) {
	freed, ok := f.tryGrow(int64(size))
	if ok {
		return 0, nil
	}
	since := time.Now()
	for !ok {
		select {
		case <-freed:
		case <-draining:
			return 0, errDraining
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		freed, ok = f.tryGrow(int64(size))
	}
	return time.Since(since), nil
}

// tryGrow takes room for size bytes, or returns what tells that there may be some.
func (f *arrival) tryGrow(size int64) (freed <-chan struct{}, ok bool) {
	a := f.all
	a.mu.Lock()
	defer a.mu.Unlock()
	more := size - f.held
	if a.held+more > a.limit && a.beyond != f {
		if a.beyond != nil {
			return a.freed, false
		}
		a.beyond = f
	}
	a.held += more
	f.held = size
	return nil, true
}

// end gives the room back: the frame is a request now, or will never be one.
func (f *arrival) end() {
	a := f.all
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.held == 0 {
		return
	}
	a.held -= f.held
	f.held = 0
	if a.beyond == f {
		a.beyond = nil
	}
	close(a.freed)
	a.freed = make(chan struct{})
}
