package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/proto/digest"
)

// keyLogged is how much of a key is logged.
const keyLogged = 128

// namer names the keys that differ, each of them, in the log and to OnDifference. It runs in the partition's goroutine, while nothing is applied to its
// state and before anything is done about it: a process that ends in between has said which keys they were. No lock is held that anybody else waits for: who
// logs slowly, or is told slowly, holds up the repair of this partition, and nothing else.
type namer struct {
	p   *partition
	n   int64
	all bool // each key has been named: what is tried next finds the same
}

func (n *namer) name(d Difference) {
	n.n++
	key, rest := d.Key[:min(len(d.Key), keyLogged)], ""
	if len(d.Key) > keyLogged {
		rest = fmt.Sprintf(" and %d bytes more", len(d.Key)-keyLogged)
	}
	what, here, log := "a key differs from the log", entryName(d.Here), entryName(d.Log)
	if !d.drifted() {
		what = "the row of a key cannot be read"
	}
	if d.Applied != (digest.Entry{}) {
		here = fmt.Sprintf("cannot be read, %x was applied", d.Applied[:])
	}
	if d.LogUnknown {
		log = "not known"
	}
	n.p.log.Error(what, "cut", d.Cut, "key", fmt.Sprintf("%q%s", key, rest), "here", here, "log", log)
	if n.p.r.cfg.OnDifference != nil {
		d.Key = bytes.Clone(d.Key)
		n.p.r.callbacks.tell(d.Partition, func() { n.p.r.cfg.OnDifference(d) })
		n.p.awaitTold(toldBehind)
	}
}

// nameAll names what is proved to be all that differs, once. Nil names nothing.
func (n *namer) nameAll(keys []Difference) {
	if n == nil || n.all {
		return
	}
	for _, d := range keys {
		n.name(d)
	}
	n.all = true
	n.p.awaitTold(0)
}

// awaitTold waits until no more than so much of what has happened to the partition is still to be told, or the replica closes. It is called by run's
// goroutine alone.
func (p *partition) awaitTold(behind uint64) { p.r.callbacks.wait(p.no, behind, p.r.done) }

func entryName(e digest.Entry) string {
	if e == (digest.Entry{}) {
		return "no row, or none that can be read"
	}
	return fmt.Sprintf("%x", e[:])
}

func compareKeys(a, b Difference) int { return bytes.Compare(a.Key, b.Key) }

// gapBetween is what the sums and counts of two states differ by. It changes when other keys differ, or other rows of theirs do.
func gapBetween(ours, logs digest.Digest) digest.Digest {
	ours.Sum.Sub(logs.Sum.Bytes())
	ours.Count -= logs.Count
	return ours
}

// naming is what was named last: the keys that make this gap between us and the log.
type naming struct {
	gap  digest.Digest
	keys int64
	// equal: none did, at an offset, though a comparison had found before that some do.
	equal bool
	at    int64
}

// named returns what was named last, if it is the keys that differ according to a verdict; else nil.
func (p *partition) named(v *Verdict) *naming {
	if v == nil || v.Scrub || v.Outcome != Drifted && !v.rotten() {
		return nil
	}
	ours := v.Ours
	if r := p.knownRot(); r != nil && r.gap != nil { // what is named is what the rows are, hashed anew
		ours.Merge(*r.gap)
	}
	return p.namedAs(ours, v.Logs)
}

// namedAs is named where it is known what the rows are, hashed anew.
func (p *partition) namedAs(ours, logs digest.Digest) *naming {
	if last := p.lastNamed.Load(); last != nil && !last.equal && last.gap == gapBetween(ours, logs) {
		return last
	}
	return nil
}

// moreDiffer tells whether other keys differ than were named, though it is no drift that a comparison finds, since rows are known to be rotten whose bytes the
// digest follows, and stay (Report).
func (p *partition) moreDiffer(v *Verdict) bool {
	r := p.knownRot()
	return p.r.cfg.OnDrift == Report && r != nil && r.gap != nil && v.rotten() && p.named(v) == nil
}

// moreKeys has the keys named, and the state followed on: what is wrong with it has been told.
func moreKeys(v *Verdict) restart { return restart{drift: v, goOn: true, more: true} }

// nameFor names the keys that differ according to a verdict, which may be nil, unless they were named already.
func (p *partition) nameFor(ctx context.Context, v *Verdict) {
	if n := p.named(v); n != nil {
		p.nameAgain(v.At, n)
		return
	}
	p.nameDifferences(ctx, p.rows())
}

// nameAgain tells that the keys that differ at an offset are those that were named last.
func (p *partition) nameAgain(at int64, n *naming) {
	p.r.event(Event{Kind: KeysNamed, Partition: p.no, Offset: at, Rows: n.keys})
}

// nameDifferences names the keys in which a state, to which nothing is applied meanwhile, differs from the log at the state's position, or
// where verify finds that they can be compared. It changes nothing, and memory does not grow with how many there are.
func (p *partition) nameDifferences(ctx context.Context, s rows) {
	n := &namer{p: p}
	err := p.findDifferences(ctx, s, n)
	p.awaitTold(0)
	if ctx.Err() == nil {
		p.r.event(Event{Kind: KeysNamed, Partition: p.no, Offset: s.position(), Rows: n.n, Err: err})
	}
}

// compareCopy compares a copy with the log, and hands on the keys that differ.
func (p *partition) compareCopy(ctx context.Context, v *dirVerifier, c *dirCopy) (DirVerdict, error) {
	d := DirVerdict{Verdict: p.verdict(c.at, Inconclusive, c.stored, digest.Digest{}, "", nil)}
	if p.r.plane == nil {
		return d, ErrNoStatePlane
	}
	logs, err := v.logs(ctx, &p.no)
	if err != nil {
		return d, err
	}
	return v.compareUntil(ctx, d, c, logs[p.no]), nil
}

// findDifferences hands the keys that differ to a namer.
func (p *partition) findDifferences(ctx context.Context, s rows, n *namer) error {
	c := &dirCopy{rows: s, no: p.no, at: s.position(), start: max(s.logStart(), p.start.Load())}
	if s != p.rows() {
		c.start = s.logStart()
	}
	_, _, stale := s.digest() // else what was applied last is not stored, and what is stored is compared
	was := p.knownRot()
	if err := c.salvage(); err != nil && c.hashAll() != nil {
		return errors.Join(stale, fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	p.hashedAnew(was, c)
	v := &dirVerifier{cfg: p.r.cfg, plane: p.r.plane, name: p.r.name, differ: n.name}
	d, err := p.compareCopy(ctx, v, c)
	if v.nameUnread(d, c); err != nil {
		return err
	}
	switch {
	case d.Outcome == Equal:
		last := p.lastNamed.Swap(&naming{equal: true, at: c.at})
		if last == nil || !last.equal || last.at != c.at { // else the log says now this and now that: what comes next is compared
			p.asks = true // what differed has been overwritten since: that is to be said too
		}
		return nil
	case d.Outcome != Drifted:
		return errors.Join(errors.New(d.Reason), d.Err)
	case d.Unnamed == nil:
		p.lastNamed.Store(&naming{gap: gapBetween(d.Ours, d.Logs), keys: n.n})
	}
	return d.Unnamed
}
