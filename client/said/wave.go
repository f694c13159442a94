package said

import "context"

// wave is the records that were said between two moments. All of it is guarded by the state's mutex.
type wave struct {
	open   int // records of which it is not known what became of them
	sealed bool
	done   chan struct{} // closed once it is sealed and none is open
	ends   []int64       // by partition: behind the last record acknowledged; 0: none
}

func newWave(partitions int) *wave {
	return &wave{done: make(chan struct{}), ends: make([]int64, partitions)}
}

func (w *wave) seal() {
	w.sealed = true
	w.check()
}

func (w *wave) settle() {
	w.open--
	w.check()
}

func (w *wave) check() {
	if w.sealed && w.open == 0 {
		close(w.done)
	}
}

func (w *wave) isDone() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// Wait waits until it is known what became of every record of a moment. Errors: the context's; or the state is not all that was said, because it is
// full (memory.ErrFull).
func (s *State) Wait(ctx context.Context, m Moment) error {
	if m.err != nil {
		return m.err
	}
	s.mu.Lock()
	waves := s.waves[:m.waves:m.waves]
	s.mu.Unlock()
	for _, w := range waves {
		select {
		case <-w.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
