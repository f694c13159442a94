package wire

import (
	"context"
	"sync"
)

// window bounds the requests in work on one connection, and their answers. One request is always admitted, however large.
type window struct {
	bytesMax, requestsMax, answersMax int
	freed                             chan struct{} // holds one token after a release

	mu       sync.Mutex
	bytes    int
	requests int
	answers  int // bytes of those that are ready and not sent
}

func (w *window) init(bytesMax, requestsMax, answersMax int) {
	w.bytesMax, w.requestsMax, w.answersMax, w.freed = bytesMax, requestsMax, answersMax, make(chan struct{}, 1)
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
	if w.requests > 0 && (w.requests >= w.requestsMax || w.bytes+size > w.bytesMax || w.answers >= w.answersMax) {
		return false
	}
	w.bytes += size
	w.requests++
	return true
}

// answered counts an answer that waits to be sent. How long it is, nobody knew before; so the next request waits for it.
func (w *window) answered(size int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers += size
}

func (w *window) release(size, answer int) {
	w.mu.Lock()
	w.bytes -= size
	w.requests--
	w.answers -= answer
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
