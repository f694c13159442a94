package client

import "sync"

// notifier wakes everyone who waits. The zero value is ready.
type notifier struct {
	mu sync.Mutex
	ch chan struct{} // nil while nobody waits; guarded by mu
}

// wait returns a channel that the next notify closes. Take it before looking at what is waited for.
func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
