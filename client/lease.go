package client

import (
	"context"
	"sync"
	"time"

	"github.com/keyframelog/keyframe/client/plane"
)

const (
	// renewEvery bounds the time between two renewals, whatever the clocks of this machine and the log's say.
	renewEvery = 10 * time.Second
	// releaseTimeout bounds the call that ends a lease: one that is not told ends by itself.
	releaseTimeout = 2 * time.Second
)

// keeper renews a lease from when it was given until the replica has joined the log's end, and ends it then. It belongs to the partition's
// run, which ends it. Its end by the log is never silent: it is an event, and the handshake begins anew.
type keeper struct {
	p      *partition
	lease  plane.Lease
	joined int64 // the last stable offset when it was given: who is there needs nothing held any more
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended

	mu sync.Mutex
	// Guarded by mu.
	followed bool         // the answer that it came with is carried out: what the partition applies counts
	over     *ReasonError // the log has ended it
}

// hold begins to keep the lease of an answer, if it has one. It is called by run's goroutine alone.
func (p *partition) hold(ctx context.Context, a plane.Answer) {
	p.letGo()
	if a.Lease == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	k := &keeper{p: p, lease: *a.Lease, joined: a.Info.LastStable, cancel: cancel, done: make(chan struct{})}
	p.lease = k
	go k.run(ctx)
}

// letGo gives up the lease that is kept, if there is one. It is called by run's goroutine alone.
func (p *partition) letGo() {
	if k := p.lease; k != nil {
		k.cancel()
		<-k.done
		p.lease = nil
	}
}

// holds tells the keeper that its answer is carried out. It returns false if the log has ended the lease meanwhile.
func (p *partition) holds() bool {
	k := p.lease
	if k == nil {
		return true
	}
	k.mu.Lock()
	k.followed = k.over == nil
	defer k.mu.Unlock()
	p.moved.notify() // it may be at the end already
	return k.followed
}

func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	defer k.cancel()
	due := time.NewTimer(k.pause(0))
	defer due.Stop()
	for failed := 0; ; {
		moved := k.p.moved.wait()
		if k.position() >= k.joined {
			k.release(ctx)
			return
		}
		select {
		case <-moved:
			continue
		case <-ctx.Done():
			k.release(ctx)
			return
		case <-due.C:
		}
		renewed, err := k.renew(ctx)
		why, over := plane.LeaseOver(err)
		switch {
		case over:
			k.end(why)
			return
		case err == nil:
			k.lease, failed = renewed, 0
		default:
			failed++
			k.p.log.Warn("replica: the lease was not renewed", "err", err, "expires", k.lease.Expires)
		}
		due.Reset(k.pause(failed))
	}
}

// pause is how long to wait for the next renewal, after so many in a row that failed.
func (k *keeper) pause(failed int) time.Duration {
	retry := k.p.r.cfg.Retry
	if failed > 0 {
		return min(retry<<min(failed-1, 6), renewEvery)
	}
	return min(max(k.lease.Expires.Sub(k.p.r.cfg.Now())/3, retry), renewEvery)
}

// position is what the log need not hold any longer; -1: nothing yet.
func (k *keeper) position() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.followed {
		return -1
	}
	return k.p.position().Offset
}

func (k *keeper) renew(ctx context.Context) (plane.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return k.p.r.plane.Renew(ctx, k.lease, k.position(), false)
}

// release tells the log that nothing need be held any more, also where the replica closes.
func (k *keeper) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if _, err := k.p.r.plane.Renew(ctx, k.lease, k.position(), true); err != nil {
		k.p.log.Debug("replica: the lease was not released, it ends by itself", "err", err)
	}
}

// end notes that the log has ended the lease. A state that is being loaded goes on to be: what it lacks then, the handshake tells.
func (k *keeper) end(why *ReasonError) {
	k.mu.Lock()
	k.over = why
	followed := k.followed
	k.mu.Unlock()
	if followed {
		k.p.restartWith(restart{event: LeaseEnded, err: why, resume: true})
		return
	}
	k.p.r.event(Event{Kind: LeaseEnded, Partition: k.p.no, Offset: k.p.position().Offset, Err: why})
}
