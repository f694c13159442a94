package client

import (
	"sync"
	"sync/atomic"
)

// gate counts who is inside, so that what they use is not closed under them.
type gate struct {
	closing atomic.Bool // those inside for long look at it and leave

	mu     sync.Mutex
	inside sync.WaitGroup // grows under mu
}

// enter returns ErrClosed once the gate is closed; otherwise leave must follow.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing.Load() {
		return ErrClosed
	}
	g.inside.Add(1)
	return nil
}

func (g *gate) leave() { g.inside.Done() }

// close lets nobody in any more and waits until all have left.
func (g *gate) close() {
	g.mu.Lock()
	g.closing.Store(true)
	g.mu.Unlock()
	g.inside.Wait()
}
