package wire

import (
	"context"
	"sync"
)

// window bounds the requests in work on one connection. One request is always admitted, however large.
type window struct {
	bytesMax, requestsMax int
	freed                 chan struct{} // holds one token after a release

	mu       sync.Mutex
	bytes    int
	requests int
}

func (w *window) init(bytesMax, requestsMax int) {
	w.bytesMax, w.requestsMax, w.freed = bytesMax, requestsMax, make(chan struct{}, 1)
}

// acquire waits until a request of size bytes may be read. One goroutine only.
func (w *window) acquire(ctx context.Context, draining <-chan struct{}, size int) error {
	for !w.tryAcquire(size) {
		select {
		case <-w.freed:
		case <-draining:
			return errDraining
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (w *window) tryAcquire(size int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.requests > 0 && (w.requests >= w.requestsMax || w.bytes+size > w.bytesMax) {
		return false
	}
	w.bytes += size
	w.requests++
	return true
}

func (w *window) release(size int) {
	w.mu.Lock()
	w.bytes -= size
	w.requests--
	w.mu.Unlock()
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

// idle reports whether no request is in work.
func (w *window) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests == 0
}
