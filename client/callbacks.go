package client

import (
	"bytes"
	"runtime"
	"sync"
)

// toldBehind is how much of what happened to a partition may wait to be told before the partition takes up nothing new.
const toldBehind = 64

// callbacks calls OnVerdict, OnEvent and OnDifference. What happened to one partition is told in that order, one at a time; no partition waits for
// another. Who calls is none of the goroutines that follow the log and holds no lock, so that a callback may call the replica. There is one for a
// partition while there is something to tell. To tell never waits: that is done where nobody can be waited for by a callback. So what waits is bounded
// by what a partition takes up at a time, and by what callbacks themselves add, with Verify and Scrub.
type callbacks struct {
	running sync.WaitGroup // grows under mu

	mu sync.Mutex
	// Guarded by mu.
	lines   map[int32]*line
	callers map[string]bool // the goroutines that call
	over    bool
}

// line is what waits to be told of one partition.
type line struct {
	waiting     []func()
	added, told uint64
	busy        bool // a goroutine calls
	moved       notifier
}

// tell adds a call to those of a partition; -1: of the replica.
func (c *callbacks) tell(no int32, call func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	l := c.lineLocked(no)
	l.waiting = append(l.waiting, call)
	l.added++
	if !l.busy {
		l.busy = true
		c.running.Go(func() { c.run(l) })
	}
}

func (c *callbacks) lineLocked(no int32) *line {
	l := c.lines[no]
	if l == nil {
		if c.lines == nil {
			c.lines, c.callers = map[int32]*line{}, map[string]bool{}
		}
		l = &line{}
		c.lines[no] = l
	}
	return l
}

func (c *callbacks) run(l *line) {
	is := goroutine()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.callers[is] = true; len(l.waiting) > 0; {
		call := l.waiting[0]
		l.waiting[0], l.waiting = nil, l.waiting[1:]
		c.mu.Unlock()
		call()
		c.mu.Lock()
		l.told++
		l.moved.notify()
	}
	l.busy = false
	delete(c.callers, is)
}

// wait returns once no more than so many of the calls that were added so far are still to be made, or when stop is closed. Not to be called within a
// callback.
func (c *callbacks) wait(no int32, behind uint64, stop <-chan struct{}) {
	c.mu.Lock()
	l := c.lineLocked(no)
	until := l.added - min(behind, l.added)
	c.mu.Unlock()
	for {
		moved := l.moved.wait()
		c.mu.Lock()
		there := l.told >= until
		c.mu.Unlock()
		if there {
			return
		}
		select {
		case <-moved:
		case <-stop:
			return
		}
	}
}

// full tells that a partition is to take up nothing new.
func (c *callbacks) full(no int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[no]
	return l != nil && l.added-l.told > toldBehind
}

// inside tells whether it is called within a callback, on the goroutine of that.
func (c *callbacks) inside() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.callers) > 0 && c.callers[goroutine()]
}

// end lets nothing more be told than what was added.
func (c *callbacks) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

// goroutine is what tells the calling goroutine from others that run. A callback has no context that would say so.
func goroutine() string {
	var b [64]byte
	is := bytes.TrimPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	is, _, _ = bytes.Cut(is, []byte(" "))
	return string(is)
}
