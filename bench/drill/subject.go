package drill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
)

// patience is how long a drill waits for any one thing that is to happen.
const patience = 2 * time.Minute

// note is something that a replica told, with what its connections to the state plane had carried by then.
type note struct {
	at      time.Time
	bytes   int64
	verdict *client.Verdict
	event   *client.Event
}

// subject is a replica and what it tells, in order. It is opened again after each close.
type subject struct {
	cfg   client.Config
	meter meter
	*client.Replica

	mu sync.Mutex
	// Guarded by mu.
	notes       []note
	differences []client.Difference
	changed     chan struct{} // closed when there is more
}

func newSubject(cfg client.Config) *subject {
	s := &subject{cfg: cfg, changed: make(chan struct{})}
	s.cfg.OnVerdict = func(v client.Verdict) { s.add(note{verdict: &v}) }
	s.cfg.OnEvent = func(e client.Event) { s.add(note{event: &e}) }
	s.cfg.OnDifference = s.differs
	return s
}

func (s *subject) open(ctx context.Context) (err error) {
	s.cfg.HTTPClient = s.meter.client()
	s.Replica, err = client.OpenReplica(ctx, s.cfg)
	return err
}

// close is Close that may come again, and of a replica that never opened.
func (s *subject) close() error {
	if s.Replica == nil {
		return nil
	}
	r := s.Replica
	s.Replica = nil
	return r.Close()
}

func (s *subject) add(n note) {
	n.at, n.bytes = time.Now(), s.meter.bytes.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, n)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *subject) differs(d client.Difference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.differences = append(s.differences, d)
}

// mark forgets the differences so far, and returns from where on to look at what is told from now on.
func (s *subject) mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.differences = nil
	return len(s.notes)
}

// differing are the keys that the replica named since mark.
func (s *subject) differing() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make(map[string]bool, len(s.differences))
	for _, d := range s.differences {
		keys[string(d.Key)] = true
	}
	return keys
}

// falseAlarm is the first verdict that says of a replica that was told the truth that it differs; nil: there is none.
func (s *subject) falseAlarm() *client.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.notes {
		if n.verdict != nil && n.verdict.Outcome == client.Drifted {
			return n.verdict
		}
	}
	return nil
}

// await returns the first note from a mark on that is what is waited for, and where it stands.
func (s *subject) await(ctx context.Context, what string, from int, is func(note) bool) (note, int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		s.mu.Lock()
		changed := s.changed
		for ; from < len(s.notes); from++ {
			if n := s.notes[from]; is(n) {
				s.mu.Unlock()
				return n, from, nil
			}
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return note{}, from, fmt.Errorf("waiting for %s of topic %s: %w", what, s.cfg.Topic, ctx.Err())
		}
	}
}

// awaitVerdict returns how the replica compared at a cut or above it, or how it drifted before.
func (s *subject) awaitVerdict(ctx context.Context, from int, cut int64) (note, int, error) {
	return s.await(ctx, fmt.Sprintf("a verdict at %d", cut), from, func(n note) bool {
		return n.verdict != nil && (n.verdict.Outcome == client.Drifted || n.verdict.Outcome == client.Equal && n.verdict.At >= cut)
	})
}

// awaitEvent returns the first event of a kind, or one after which it cannot come any more: errEnded with that.
func (s *subject) awaitEvent(ctx context.Context, from int, kind client.EventKind) (note, int, error) {
	n, at, err := s.await(ctx, "the event "+kind.String(), from, func(n note) bool {
		return n.event != nil && (n.event.Kind == kind || n.event.Kind == client.Stopped || n.event.Kind == client.RepairRefused)
	})
	if err == nil && n.event.Kind != kind {
		err = fmt.Errorf("%w: %s: %w", errEnded, n.event.Kind, n.event.Err)
	}
	return n, at, err
}

var errEnded = errors.New("the replica does not go on")

// matches compares the replica's digest with that of the log; empty: they are equal.
func (s *subject) matches(log digest.Digest) string {
	d, err := s.Digest()
	switch {
	case err != nil:
		return err.Error()
	case d != log:
		return fmt.Sprintf("it has %d rows, digest %s", d.Count, hexSum(d))
	}
	return ""
}
