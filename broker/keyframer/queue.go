package keyframer

import (
	"context"
	"sync"
	"time"

	"github.com/keyframelog/keyframe/broker/deadline"
)

// task is something that is done step by step, by one worker at a time.
type task struct {
	// step does the next step. again: there is more to do; wakeMs: look again at this time, 0: only when told.
	step  func(ctx context.Context) (again bool, wakeMs int64)
	place place
}

// queue holds the tasks that have something to do, first come first served, each at most once, and those that wait for a
// time. A task is in one worker's hands at most.
type queue struct {
	mu      sync.Mutex
	arrived sync.Cond
	ready   []*task
	timers  deadline.Heap[*task]
	closed  bool

	rearm chan struct{} // the earliest timer has changed
}

// place is a task's state in the queue, guarded by queue.mu.
type place struct {
	state placeState
	again bool // something happened while a worker had it
	timer deadline.Place[*task]
	gone  bool // never to be queued again
	idle  chan struct{}
}

type placeState uint8

const (
	placeIdle placeState = iota
	placeReady
	placeRunning
)

func newQueue() *queue {
	q := &queue{rearm: make(chan struct{}, 1)}
	q.arrived.L = &q.mu
	return q
}

// add says that something happened to a task. It never blocks.
func (q *queue) add(t *task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(t)
}

func (q *queue) addLocked(t *task) {
	switch {
	case t.place.gone:
	case t.place.state == placeRunning:
		t.place.again = true
	case t.place.state == placeIdle:
		q.timers.Remove(&t.place.timer)
		t.place.state = placeReady
		q.ready = append(q.ready, t)
		q.arrived.Signal()
	}
}

// take waits for the next task; false when the queue is closed.
func (q *queue) take() (*task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed {
			return nil, false
		}
		if len(q.ready) > 0 {
			t := q.ready[0]
			q.ready[0] = nil
			q.ready = q.ready[1:]
			t.place.state = placeRunning
			t.place.again = false
			return t, true
		}
		q.arrived.Wait()
	}
}

// done gives a taken task back.
func (q *queue) done(t *task, again bool, wakeMs int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.place.state = placeIdle
	switch {
	case t.place.gone:
		close(t.place.idle)
	case again || t.place.again:
		q.addLocked(t)
	case wakeMs != 0:
		t.place.timer.Of = t
		if q.timers.Set(&t.place.timer, time.UnixMilli(wakeMs)) {
			deadline.Wake(q.rearm)
		}
	}
}

// remove takes a task out for good and returns a channel that is closed when no worker has it.
func (q *queue) remove(t *task) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.place.gone {
		return t.place.idle
	}
	t.place.gone = true
	t.place.idle = make(chan struct{})
	q.timers.Remove(&t.place.timer)
	if t.place.state == placeReady {
		for i, r := range q.ready {
			if r == t {
				q.ready = append(q.ready[:i], q.ready[i+1:]...)
				break
			}
		}
		t.place.state = placeIdle
	}
	if t.place.state == placeIdle {
		close(t.place.idle)
	}
	return t.place.idle
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.arrived.Broadcast()
}

// work does steps until the queue is closed.
func (q *queue) work(ctx context.Context) {
	for {
		t, ok := q.take()
		if !ok {
			return
		}
		again, wakeMs := t.step(ctx)
		q.done(t, again, wakeMs)
	}
}

// expire queues the tasks whose time has come and returns the next time, or 0.
func (q *queue) expire(nowMs int64) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		t, at, ok := q.timers.First()
		switch {
		case !ok:
			return 0
		case at.UnixMilli() > nowMs:
			return at.UnixMilli()
		}
		q.addLocked(t)
	}
}

// clock wakes tasks until ctx ends.
func (q *queue) clock(ctx context.Context, nowMs func() int64) {
	deadline.Keep(ctx.Done(), q.rearm, func() time.Duration {
		now := nowMs()
		wait := time.Hour
		if next := q.expire(now); next != 0 {
			wait = min(wait, time.Duration(next-now)*time.Millisecond)
		}
		return wait
	})
}
