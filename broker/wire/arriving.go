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
// limit: it never waits, comes whole or is cut, and the next one takes its place.
//
// While a frame waits for room, those that hold some have to go on coming (Conn.fill): a few peers that are gone without a word
// would else stop all the others for the time that a frame may take.
type arrivals struct {
	limit int64

	mu      sync.Mutex
	held    int64         // guarded by mu, as what follows
	beyond  *arrival      // the frame that may pass the limit; nil: none needs to
	waiting int           // frames that wait for room
	freed   chan struct{} // closed and replaced when something was given back
}

// arrival is one frame on its way.
type arrival struct {
	all  *arrivals
	held int64
}

func newArrivals(limit int64) *arrivals { return &arrivals{limit: limit, freed: make(chan struct{})} }

// ahead returns how many bytes a frame may hold room for when have of them came. That is a few times what came, or what its peer
// is trusted with: all of it while half of the room is free, else a little. While somebody waits, it is twice what came.
func (f *arrival) ahead(have, trusted int) int {
	const growth, growthWaiting, little = 4, 2, 1 << 20
	a := f.all
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting > 0 {
		return growthWaiting * have
	}
	if a.held+int64(trusted) > a.limit/2 {
		trusted = min(trusted, little)
	}
	return max(growth*have, trusted)
}

// grow waits until the frame may hold size bytes, and says for how long.
func (f *arrival) grow(ctx context.Context, draining <-chan struct{}, size int) (waited time.Duration, err error) {
	freed, ok := f.tryGrow(int64(size))
	if ok {
		return 0, nil
	}
	f.all.wait(1)
	defer f.all.wait(-1)
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

// wait counts the frames that wait for room.
func (a *arrivals) wait(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting += n
}

// contended reports whether a frame waits for room.
func (a *arrivals) contended() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting > 0
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
