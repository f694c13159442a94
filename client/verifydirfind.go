package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// compareAbove compares a copy with the lowest frame above its position, where the log does not know its own state at the position any more: what
// has changed since is still known, each key once. Keys that have changed are the log's once the copy has loaded them, whatever it has now.
func (v *dirVerifier) compareAbove(ctx context.Context, d DirVerdict, c *dirCopy, log logInfo) (DirVerdict, error) {
	if log.info.Horizon > c.at {
		why := fmt.Sprintf("position %d is no longer in the log, nor what was deleted below %d", c.at, log.info.Horizon)
		d.Repair = v.costOfWhole(ctx, log).refusedIn(log)
		return d.is(Inconclusive, why, plane.ErrNotComparable), nil
	}
	f, err := lowestAbove(log.frames, c.at), error(nil)
	if f == nil {
		cut, err := v.cutAbove(ctx, c)
		if err != nil {
			return d, err
		}
		f = &cut
	}
	here := &carried{rows: c.rows, from: c.at, start: f.Start, cut: f.Cut, blind: true, unread: c.unread}
	since := RepairCost{Method: ByDelta}
	if here.moved, since.Bytes, err = v.since(ctx, c, *f); err != nil {
		return d, err
	}
	since.Keys = int64(len(here.moved))
	ours, _, err := here.entries(func([]byte, digest.Entry) {})
	if err != nil {
		return d.is(Error, "the stored rows cannot be read", err), nil
	}
	d.At, d.Ours, d.Logs, d.start = f.Cut, ours, f.Digest, f.Start
	gone := fmt.Sprintf("position %d is no longer in the log: with the %d keys that have changed since, compared at %d", c.at, len(here.moved), f.Cut)
	if ours != f.Digest || c.stored != c.kept || len(here.moved) > 0 {
		since.FrameBytes = v.wire(ctx, *f).frame
	}
	switch {
	case ours != f.Digest || c.stored != c.kept:
	case len(here.moved) > 0:
		d.Repair = since
		return d.is(Inconclusive, gone+": all other rows are the log's, and what the copy had of these is no longer known", plane.ErrNotComparable), nil
	default:
		return d.is(Equal, gone, nil), nil
	}
	if ours != f.Digest && f.Start > c.start && !c.kind().WholeValues() {
		d.Repair = since
		return d.is(Inconclusive, fmt.Sprintf("%s; rows below %d have expired since, and deltas may have been folded without them", gone, f.Start), nil), nil
	}
	d.Cause = c.cause()
	received := since.Bytes
	if c.keptAt(ours) != f.Digest {
		received *= 2 // that it leads to another state than the log's is known when it has been received, and then that is judged
	}
	if ours == f.Digest {
		d.Repair = RepairCost{Method: ByRehash, Bytes: received, FrameBytes: since.FrameBytes}
		return d.is(Drifted, gone+"; the digest that is kept of the rows is not theirs", nil), nil
	}
	d, err = v.find(ctx, d.is(Drifted, gone+"; "+differs(ours, f.Digest), nil), here, *f, f.Cut)
	if d.Repair.Method != "" {
		d.Repair.Bytes += received
	}
	return d, err
}

func lowestAbove(frames []plane.Frame, at int64) (lowest *plane.Frame) {
	for i := range frames {
		if f := &frames[i]; f.Cut >= at && (lowest == nil || f.Cut < lowest.Cut) {
			lowest = f
		}
	}
	return lowest
}

// since loads what has changed between the position and the cut of a frame; size is how many bytes that took.
func (v *dirVerifier) since(ctx context.Context, c *dirCopy, f plane.Frame) (moved map[string]move, size int64, err error) {
	name := plane.Since(c.no, f.Cut, c.at)
	var body *plane.Download
	err = v.call(ctx, func(context.Context) (err error) { // the body outlives the call
		body, err = v.plane.Download(ctx, name, name.ETag(f.Pub), v.cfg.Retry)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	fr, err := f.Read(body, name)
	if err != nil {
		return nil, 0, err
	}
	var h digest.Hasher
	moved = map[string]move{}
	if err := eachSince(fr, func(row frame.Row) {
		var m move
		if !row.Tombstone {
			m.cut = h.Entry(row.Key, row.Value)
		}
		moved[string(row.Key)] = m
	}); err != nil {
		return nil, 0, fmt.Errorf("what changed since %d: %w", c.at, err)
	}
	return moved, body.At, nil
}

// keptAt is the digest that a copy would keep where its stored rows would have another one.
func (c *dirCopy) keptAt(stored digest.Digest) digest.Digest {
	stored.Merge(c.kept)
	return gapBetween(stored, c.stored)
}

// find finds the keys that differ, and proves that it is these: with the log's rows in their place the copy has the log's digest. mendAt: the cut that a
// repair is made at.
func (v *dirVerifier) find(ctx context.Context, d DirVerdict, here *carried, f plane.Frame, mendAt int64) (DirVerdict, error) {
	keys, cost, err := v.findBySketch(ctx, here, f)
	proof := newProof(v, d, keys)
	switch {
	case err == nil && proof.holds():
		if v.differ == nil { // else nobody is told
			w := v.wire(ctx, f)
			cost = here.repairCost(keys, v.overwritten(ctx, here, keys, f, mendAt), cost, f, w, mendAt)
			cost = here.costOfOthers(cost, f, w)
		}
		proof.handOver()
	case err == nil || ctx.Err() == nil && (!otherwise(err) || errors.Is(err, plane.ErrUnrepairable)):
		if errors.Is(err, plane.ErrUnrepairable) {
			cost.Refused = err
		}
		whole := v.wire(ctx, f).frame
		cost.Method, cost.Bytes, cost.FrameBytes = ByFrame, whole, whole
		proof = newProof(v, d, nil)
		clear(here.named)
		err = v.findOneByOne(ctx, here, f, proof)
		cost.Keys = proof.n
	}
	if err == nil && !proof.holds() {
		err = fmt.Errorf("%w: more keys differ than the %d that were found", errMovedOn, proof.n)
	}
	if err == nil {
		for _, k := range here.rest(f.Partition, d.At, here.start, func(key string) bool { _, moved := here.moved[key]; return moved && here.blind }) {
			proof.add(k)
		}
		slices.SortFunc(proof.keys, compareKeys)
	}
	d.Differs, d.Repair = proof.keys, cost
	if err != nil && !movedOn(err) {
		here.forget(v)
		d.Differs, d.Unnamed = nil, err
		return d, nil
	}
	return d, err
}

// proof takes the keys that differ, and tells whether it is all of them: with the log's rows in their place the copy has the log's digest.
type proof struct {
	v        *dirVerifier
	is, want digest.Digest
	n        int64
	keys     []Difference // that nobody was handed
}

func newProof(v *dirVerifier, d DirVerdict, keys []Difference) *proof {
	p := &proof{v: v, is: d.Ours, want: d.Logs, n: int64(len(keys)), keys: keys}
	for _, k := range keys {
		replace(&p.is, k)
	}
	return p
}

func (p *proof) holds() bool { return p.is == p.want }

// handOver hands the keys to whoever asked for them, and keeps them where nobody did.
func (p *proof) handOver() {
	if p.v.differ == nil {
		return
	}
	for _, k := range p.keys {
		p.v.differ(k)
		p.v.handed = true
	}
	p.keys = nil
}

func (p *proof) add(k Difference) {
	replace(&p.is, k)
	p.n++
	p.keys = append(p.keys, k)
	p.handOver()
}

// findBySketch is how a repair finds them.
func (v *dirVerifier) findBySketch(ctx context.Context, here *carried, f plane.Frame) (keys []Difference, cost RepairCost, err error) {
	c := newComparison(&v.cfg, v.cfg.Logger, here, plane.Repair{Plane: v.plane, Of: f, Replica: v.name, Naming: true})
	if err := c.rehash(); err != nil {
		return nil, cost, err
	}
	found, method, err := c.mend(ctx, func(*comparison, findings) error { return nil })
	if err != nil {
		return nil, cost, err
	}
	keys, err = here.differences(found.keys, f.Partition)
	for i, k := range keys {
		keys[i] = here.marked(k, here.start)
	}
	return keys, RepairCost{Method: method, Bytes: c.plane.Bytes}, err
}

// findOneByOne reads the log's state beside the copy, both in key order: at the position, or, where that is not to be had, at the cut.
func (v *dirVerifier) findOneByOne(ctx context.Context, ours *carried, f plane.Frame, all *proof) error {
	at, moved := ours.from, map[string]move(nil)
	if ours.blind {
		at, moved = ours.cut, ours.moved
	}
	var last []byte // the key that was found last; a call that breaks off is repeated from the start
	return v.call(ctx, func(ctx context.Context) error {
		next, stop := iter.Pull2(ours.without(moved))
		defer stop()
		m := merge{next: next, differ: func(key []byte, here, log digest.Entry) {
			if last == nil || bytes.Compare(key, last) > 0 {
				last = bytes.Clone(key)
				all.add(ours.marked(Difference{Partition: f.Partition, Cut: at, Key: last, Here: here, Log: log}, ours.start))
			}
		}}
		if err := v.plane.Scan(ctx, f.Partition, f.Incarnation, at, func(row frame.Row) error {
			if _, ok := moved[string(row.Key)]; ok {
				return nil
			}
			return m.log(row)
		}); err != nil {
			return err
		}
		return m.end()
	})
}

// entryOfKey is a row of ours: its key, and its entry.
type entryOfKey struct {
	key []byte
	e   digest.Entry
}

// without yields the rows that the log start has not passed, in key order, but for keys that have moved.
func (c *carried) without(moved map[string]move) iter.Seq2[entryOfKey, error] {
	return func(yield func(entryOfKey, error) bool) {
		for row, err := range byKey(c.rows, c.unread, c.start) {
			if _, ok := moved[string(row.key)]; err == nil && ok {
				continue
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// byKey yields the rows whose last delta lies at an offset or above, by key.
func byKey(s rows, u unread, from int64) iter.Seq2[entryOfKey, error] {
	if u.of != nil {
		return u.of.appliedByKey(from)
	}
	if u.unindexed {
		return sortedByKey(s, from)
	}
	return func(yield func(entryOfKey, error) bool) {
		var h digest.Hasher
		for row, err := range s.scan(nil, nil) {
			if err == nil && row.Offset < from {
				continue
			}
			if !yield(entryOfKey{row.Key, h.Entry(row.Key, row.Value)}, err) {
				return
			}
		}
	}
}

// merge goes through the rows of two states beside each other.
type merge struct {
	next   func() (entryOfKey, error, bool) // ours, by key
	differ func(key []byte, here, log digest.Entry)

	h     digest.Hasher
	begun bool
	ours  entryOfKey
	more  bool
}

func (m *merge) advance() (err error) {
	m.begun = true
	m.ours, err, m.more = m.next()
	return err
}

// log takes the log's next row.
func (m *merge) log(row frame.Row) error {
	if !m.begun {
		if err := m.advance(); err != nil {
			return err
		}
	}
	for m.more && bytes.Compare(m.ours.key, row.Key) < 0 {
		if err := m.onlyHere(); err != nil {
			return err
		}
	}
	e := m.h.Entry(row.Key, row.Value)
	if !m.more || !bytes.Equal(m.ours.key, row.Key) {
		m.differ(row.Key, digest.Entry{}, e)
		return nil
	}
	if m.ours.e != e {
		m.differ(row.Key, m.ours.e, e)
	}
	return m.advance()
}

func (m *merge) onlyHere() error {
	m.differ(m.ours.key, m.ours.e, digest.Entry{})
	return m.advance()
}

// end says that the log has no more rows.
func (m *merge) end() error {
	if !m.begun {
		if err := m.advance(); err != nil {
			return err
		}
	}
	for m.more {
		if err := m.onlyHere(); err != nil {
			return err
		}
	}
	return nil
}
