// Package deadline keeps the time of many things that each have one deadline, or none: those that are due are found without looking at
// the others.
//
//	var h deadline.Heap[*entry]
//	e.place.Of = e
//	if h.Set(&e.place, at) { wake() }     // the earliest is another one now
//	for of, at, ok := h.First(); ok && !at.After(now); of, at, ok = h.First() {
//		... // does what is due, and sets the next deadline
//	}
//
// A Heap is a plain structure without a lock, a goroutine or a clock; Keep is the goroutine of whoever owns one.
package deadline

import (
	"container/heap"
	"time"
)

// Place is where a thing stands in a Heap. The zero value, with Of set, stands in none. It is guarded by what guards the heap.
type Place[T any] struct {
	Of T

	at   time.Time
	rank int // its index in the heap, plus one; 0: not in it
}

// Heap is a set of places with deadlines. The zero value is empty.
type Heap[T any] struct {
	places places[T]
}

// Set gives a place a deadline, the zero time for none, and says whether the place is the earliest now.
func (h *Heap[T]) Set(p *Place[T], at time.Time) (earliest bool) {
	if at.IsZero() {
		h.Remove(p)
		return false
	}
	p.at = at
	if p.rank == 0 {
		heap.Push(&h.places, p)
	} else {
		heap.Fix(&h.places, p.rank-1)
	}
	return p.rank == 1
}

// Remove takes a place out, if it is in.
func (h *Heap[T]) Remove(p *Place[T]) {
	if p.rank > 0 {
		heap.Remove(&h.places, p.rank-1)
	}
}

// First returns what has the earliest deadline, and that; false if nothing has one.
func (h *Heap[T]) First() (of T, at time.Time, ok bool) {
	if len(h.places) == 0 {
		return of, at, false
	}
	return h.places[0].Of, h.places[0].at, true
}

// Keep calls expire at once, after the time that the last call returned, and on each wake-up, until stop is closed.
func Keep(stop, wake <-chan struct{}, expire func() time.Duration) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-wake:
		case <-t.C:
		}
		t.Reset(expire())
	}
}

// Wake wakes Keep, through a channel with room for one, without waiting.
func Wake(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// places is for container/heap.
type places[T any] []*Place[T]

func (s places[T]) Len() int           { return len(s) }
func (s places[T]) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s places[T]) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].rank, s[j].rank = i+1, j+1
}

func (s *places[T]) Push(x any) {
	p := x.(*Place[T])
	*s = append(*s, p)
	p.rank = len(*s)
}

func (s *places[T]) Pop() any {
	old := *s
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	p.rank = 0
	return p
}
