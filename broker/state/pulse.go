package state

import "time"

// pulse sends the messages of a stream without an end, and an empty one where there was nothing to tell for too long: something between the broker
// and its client may keep a connection and pass nothing any more, which looks like a stream that has nothing to tell. It belongs to the call's goroutine.
type pulse[M any] struct {
	write   func(*M) error
	promise func(m *M, aliveMs int64) // nil: it was made
	every   time.Duration
	timer   *time.Timer // since the last message
}

// newPulse says in the first message, by promise, how long it takes at most until another comes. stop must follow.
func newPulse[M any](every time.Duration, write func(*M) error, promise func(m *M, aliveMs int64)) *pulse[M] {
	return &pulse[M]{write: write, promise: promise, every: every, timer: time.NewTimer(every)}
}

func (p *pulse[M]) stop() { p.timer.Stop() }

func (p *pulse[M]) send(m *M) error {
	if p.promise != nil {
		p.promise(m, p.every.Milliseconds())
		p.promise = nil
	}
	err := p.write(m)
	p.timer.Reset(p.every)
	return err
}

// due receives when nothing was told for too long: beat is to follow.
func (p *pulse[M]) due() <-chan time.Time { return p.timer.C }

// beat tells that there is nothing to tell.
func (p *pulse[M]) beat() error { return p.send(new(M)) }

// beatIfDue is for who does not wait meanwhile.
func (p *pulse[M]) beatIfDue() error {
	select {
	case <-p.due():
		return p.beat()
	default:
		return nil
	}
}
