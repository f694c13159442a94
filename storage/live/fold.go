package live

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

// StartFold moves the open interval aside, where readers still see it, and returns what is to be committed; cut asks for a key frame
// at the end. The caller hands the fold to table.DB.Commit, alone or with those of other partitions, and then calls finish with the
// result. After a failure the next StartFold includes what was not committed. One fold of a partition at a time: StartFold waits
// for nothing, so calling it before finish is a programming error, reported by ok = false.
func (p *Partition) StartFold(cut bool) (f table.Fold, finish func(error), ok bool) {
	return p.startFold(cut, 0)
}

// StartCut is StartFold for a cut at which the log start offset becomes start: rows whose last delta lies below it leave. Where nothing was
// applied since the newest cut, they leave there, and the frame is superseded (see package table). What comes behind
// the cut must not be folded onto such a row, and whether it has left is not known before the fold is finished. So nothing is applied
// until then: Apply returns ErrFull.
func (p *Partition) StartCut(start int64) (f table.Fold, finish func(error), ok bool) {
	return p.startFold(true, start)
}

func (p *Partition) startFold(cut bool, start int64) (f table.Fold, finish func(error), ok bool) {
	if p.inFold.Swap(true) {
		return f, nil, false
	}
	p.mu.Lock()
	folding := p.open
	if p.folding != nil { // failed before
		p.mu.Unlock()
		folding = p.absorbed(p.folding, p.open)
		p.mu.Lock()
	}
	p.folding, p.open = folding, newInterval()
	p.generation++
	end, epoch := p.position, p.epoch
	p.foldEnd, p.expiring = end, start > p.table.Start()
	p.mu.Unlock()
	f = table.Fold{
		Table: p.table, Changes: folding.changes(), End: end, LeaderEpoch: epoch, Cut: cut, CutTimeMs: p.cfg.Now().UnixMilli(),
		Skipped: folding.rejects, Start: start,
	}
	return f, p.finishFold, true
}

// StartConsolidated is StartFold for a consolidated delta: rows that are folded already, sorted by key, with offsets in [Position, end). With a
// start above the table's, end is a cut at which it becomes the log start, as with StartCut. What was applied must be committed before: where the
// open interval has anything, or a fold is under way, ok is false. Readers see the rows from the commit on, all at once, and their asOf says so; the
// position is end after finish(nil), and nothing has happened after another.
func (p *Partition) StartConsolidated(changes []table.Change, end, start int64) (f table.Fold, finish func(error), ok bool) {
	if p.inFold.Swap(true) {
		return f, nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.position != p.table.Position() { // a fold that failed has something only then
		p.inFold.Store(false)
		return f, nil, false
	}
	p.foldEnd, p.expiring = end, start > p.table.Start()
	f = table.Fold{Table: p.table, Changes: changes, End: end, LeaderEpoch: -1, Cut: p.expiring, CutTimeMs: p.cfg.Now().UnixMilli(), Start: start}
	return f, func(err error) {
		p.mu.Lock()
		if p.expiring = false; err == nil {
			p.position, p.epoch = max(p.position, end), -1
		}
		p.mu.Unlock()
		p.inFold.Store(false)
	}, true
}

// Patch repairs the table below the intervals, see table.Table.Patch. What was applied must be committed, else ErrBusy.
func (p *Partition) Patch(ctx context.Context, puts []frame.Row, deletes [][]byte, lost []table.Span, want digest.Digest) error {
	if p.inFold.Swap(true) {
		return ErrBusy
	}
	defer p.inFold.Store(false)
	p.mu.RLock()
	clean := p.position == p.table.Position()
	p.mu.RUnlock()
	if !clean {
		return ErrBusy
	}
	return p.table.Patch(ctx, puts, deletes, lost, want)
}

func (p *Partition) finishFold(err error) {
	p.mu.Lock()
	p.expiring = false
	if err == nil {
		p.folding = nil
		p.generation++
	}
	p.mu.Unlock()
	p.inFold.Store(false)
}

// changes lists what the interval does to each key, in key order.
func (iv *interval) changes() []table.Change {
	type ranked struct {
		head uint64 // of the key: decides most comparisons
		e    *entry
	}
	order := make([]ranked, 0, len(iv.entries))
	deltas := 0
	for _, e := range iv.entries {
		if e.head == nil || e.head.kind == unchanged {
			continue
		}
		order = append(order, ranked{headOf(e.key), e})
		deltas += int(e.head.length)
	}
	slices.SortFunc(order, func(a, b ranked) int {
		if c := cmp.Compare(a.head, b.head); c != 0 {
			return c
		}
		return bytes.Compare(a.e.key, b.e.key)
	})
	changes := make([]table.Change, 0, len(order))
	all := make([]table.Delta, 0, deltas)
	var chain []*node
	for _, o := range order {
		begin := len(all)
		chain = o.e.head.oldestFirst(chain[:0])
		for _, n := range chain {
			all = append(all, n.delta(o.e.key))
		}
		changes = append(changes, table.Change{Key: o.e.key, Deltas: all[begin:len(all):len(all)], Folded: o.e.head.kind == known})
	}
	return changes
}

func headOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// absorbed returns an interval that does what a does and then b. Both stay as they are: readers may hold them.
func (p *Partition) absorbed(a, b *interval) *interval {
	m := newInterval()
	m.rejects = a.rejects
	m.rejects.Add(&b.rejects)
	m.records = a.records + b.records
	var chain []*node
	for _, e := range a.entries {
		if e.head == nil {
			continue
		}
		chain = e.head.oldestFirst(chain[:0])
		for _, n := range chain {
			m.push(m.touch(e.key, m.hash(e.key)), *n)
		}
	}
	for _, e := range b.entries {
		switch {
		case e.head == nil || e.head.kind == unchanged:
		case e.head.kind == known:
			t, n := m.touch(e.key, m.hash(e.key)), *e.head
			if t.head != nil && t.head.kind == pending && !p.lastValue {
				n.kind = pending // a put or delete on top: what the chain below rejects is still to be counted
			}
			m.push(t, n)
		default:
			t := m.touch(e.key, m.hash(e.key))
			chain = e.head.oldestFirst(chain[:0])
			for _, n := range chain {
				p.collapse(m, t, n.delta(e.key))
			}
		}
	}
	return m
}
