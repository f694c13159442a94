package table

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Patch repairs the table at its position, with one Ingest: puts are stored as they stand, at offsets below it, and the keys of deletes go.
// Every row that stays is read and hashed anew; unless what is stored then has the digest want, nothing has happened, and the error is
// ErrDigest. A row that cannot be read is the error too, unless it lies in one of the lost spans, which Salvage has found: each live row in
// there is to be among puts, or its key among deletes, else ErrPatch; tombstones in there go. The blocks that had them leave the database with
// what lies between two spans, which is written anew.
//
// It is for a copy of a table, which needs no past: an older frame would show a row that is put below its cut. So the frame at the position is to
// be the only one, and trimmed to, else ErrFrames; it becomes that of the rows as they are now. A put whose offset is that of a row of
// a key that stays is an *OffsetError. Tombstones at the offsets of puts go. What changed below the position is not known any more: the
// horizon is above it. Memory: the size of the patch, and of the rows between lost spans.
func (t *Table) Patch(ctx context.Context, puts []frame.Row, deletes [][]byte, lost []Span, want digest.Digest) error {
	end, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	p := patcher{t: t, lost: lost, m: t.state.Load().clone(), s: t.db.sink(), touched: make(map[string]bool, len(puts)+len(deletes)), places: make(map[int64]bool, len(puts))}
	defer p.s.discard()
	if err := p.run(ctx, puts, deletes, want); err != nil {
		return fmt.Errorf("table: patch of ordinal %d at %d: %w", t.ordinal, p.m.position, err)
	}
	t.state.Store(p.m)
	return nil
}

type patcher struct {
	t       *Table
	m       *meta // as it will be
	s       *sink
	touched map[string]bool // keys of puts and deletes
	places  map[int64]bool  // offsets of puts; true: some row is there now
	digest  digest.Digest   // of what is stored afterwards
	bytes   int64
	hasher  digest.Hasher
	gone    []int64  // offsets of rows of touched keys that are no offsets of puts
	buried  [][]byte // keys whose tombstones are at offsets of puts, or lost

	lost       []Span
	movedBytes int64
	moved      []frame.Row // rows that stay and are written anew: they lie between lost spans
	graves     []int64     // offsets of tombstones that are lost
}

func (p *patcher) run(ctx context.Context, puts []frame.Row, deletes [][]byte, want digest.Digest) error {
	if m := p.m; len(m.frames) != 1 || m.frames[0].Cut != m.position || p.t.undead(m) {
		return ErrFrames
	}
	if err := p.check(puts, deletes); err != nil {
		return err
	}
	span, err := p.read(ctx)
	if err != nil {
		return err
	}
	for i := range puts {
		p.digest.Add(p.hasher.Entry(puts[i].Key, puts[i].Value))
		p.bytes += int64(len(puts[i].Key)) + int64(len(puts[i].Value))
	}
	if p.digest != want {
		return fmt.Errorf("%w: %d rows would be stored, want %d", ErrDigest, p.digest.Count, want.Count)
	}
	p.writeIndex(puts, deletes)
	p.writeRows(puts)
	if err := p.writeSegments(); err != nil {
		return err
	}
	m := p.m
	m.digest, m.bytes, m.horizon = p.digest, p.bytes, max(m.horizon, m.position+1)
	m.frames[0] = m.now(m.frames[0].CutTimeMs)
	p.t.putMeta(p.s, m)
	return p.s.commit(ctx, span, p.t)
}

func (p *patcher) check(puts []frame.Row, deletes [][]byte) error {
	for i := range puts {
		r := &puts[i]
		if _, twice := p.places[r.Offset]; twice || p.touched[string(r.Key)] || r.Tombstone || r.Offset < p.m.start || r.Offset >= p.m.position {
			return fmt.Errorf("%w: a row at %d (tombstone: %v), want offsets in [%d, %d); or its key or offset twice", ErrPatch, r.Offset, r.Tombstone, p.m.start, p.m.position)
		}
		p.places[r.Offset] = false
		p.touched[string(r.Key)] = true
	}
	for _, key := range deletes {
		if p.touched[string(key)] {
			return fmt.Errorf("%w: a key twice", ErrPatch)
		}
		p.touched[string(key)] = true
	}
	return nil
}

// read goes through all rows: it hashes those that stay, and finds those that go. span is what leaves the database; nil: nothing does.
func (p *patcher) read(ctx context.Context) (span *pebble.KeyRange, err error) {
	v, err := p.t.View(Current)
	if err != nil {
		return nil, err
	}
	defer func() { err = damage.Join(err, v.Close()) }()
	n := 0
	var stopped error
	err = v.besides(p.lost, v.f.Cut, true, func(r *frame.Row) bool {
		if n++; n%4096 == 0 {
			stopped = ctx.Err()
		}
		if stopped == nil {
			stopped = p.row(r)
		}
		return stopped == nil
	})
	if err = errors.Join(err, stopped); err != nil || len(p.lost) == 0 {
		return nil, err
	}
	if err := v.eachEntry(p.lose); err != nil {
		return nil, err
	}
	slices.Sort(p.gone)
	return p.excised()
}

func (p *patcher) row(r *frame.Row) error {
	_, taken := p.places[r.Offset]
	if taken {
		p.places[r.Offset] = true
	}
	switch {
	case p.touched[string(r.Key)]:
		if !taken {
			p.gone = append(p.gone, r.Offset)
		}
		return nil
	case taken && !r.Tombstone:
		return &OffsetError{Offset: r.Offset, Key: bytes.Clone(r.Key)}
	case taken:
		p.buried = append(p.buried, bytes.Clone(r.Key))
	}
	if !r.Tombstone {
		p.digest.Add(p.hasher.Entry(r.Key, r.Value))
		p.bytes += int64(len(r.Key)) + int64(len(r.Value))
	}
	if !taken {
		return p.move(r)
	}
	return nil
}

func (p *patcher) writeIndex(puts []frame.Row, deletes [][]byte) {
	type change struct {
		key []byte
		put *frame.Row // nil: the entry goes
	}
	var list []change
	for i := range puts {
		list = append(list, change{puts[i].Key, &puts[i]})
	}
	for _, key := range slices.Concat(deletes, p.buried) {
		list = append(list, change{key, nil})
	}
	slices.SortFunc(list, func(a, b change) int { return bytes.Compare(a.key, b.key) })
	var k, v []byte
	for _, c := range list {
		k = keys.AppendTableIndex(k[:0], p.t.ordinal, c.key)
		if c.put == nil {
			p.s.delete(keys.TableIndex, k)
			continue
		}
		v = appendEntry(v[:0], &entry{offset: c.put.Offset, valueLen: uint32(len(c.put.Value)), hash: p.hasher.Entry(c.put.Key, c.put.Value)})
		p.s.set(keys.TableIndex, k, v)
	}
}

func (p *patcher) writeRows(puts []frame.Row) {
	list := slices.Concat(puts, p.moved)
	order := make([]at, len(list))
	for i := range list {
		order[i] = at{list[i].Offset, int32(i)}
	}
	slices.SortFunc(order, byOffset)
	var k, v []byte
	for _, o := range order {
		k = keys.AppendTableOffset(k[:0], keys.TableRows, p.t.ordinal, o.offset)
		v = appendRow(v[:0], &list[o.i])
		p.s.set(keys.TableRows, k, v)
	}
	graves := p.graves
	for i := range puts {
		graves = append(graves, puts[i].Offset)
	}
	slices.Sort(graves)
	for _, o := range slices.Compact(graves) {
		p.s.delete(keys.TableTombstones, keys.AppendTableOffset(nil, keys.TableTombstones, p.t.ordinal, o))
	}
}

// writeSegments notes which rows are dead now, and which are there that were not. Puts where no segment is get one of their own.
func (p *patcher) writeSegments() error {
	come := make([]int64, 0, len(p.places))
	for o := range p.places {
		come = append(come, o)
	}
	slices.Sort(come)
	it, err := p.t.db.iterate(keys.TableSegments, p.t.ordinal)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var g segment
		if g, err = p.t.segmentAt(it); err != nil {
			break
		}
		come = come[p.between(come[:below(come, g.lo)]):]
		n, m := below(come, g.hi), below(p.gone, g.hi)
		if n == 0 && m == 0 {
			continue
		}
		if err = g.patch(p.t.ordinal, p.gone[:m], come[:n], p.places); err == nil {
			putSegment(p.s, p.t.ordinal, &g)
		}
		come, p.gone = come[n:], p.gone[m:]
	}
	if err = damage.Join(err, it.Error(), it.Close()); err != nil {
		return err
	}
	if len(p.gone) > 0 {
		return &CorruptError{Ordinal: p.t.ordinal, What: "segment", Offset: p.gone[0], Why: "of a row is missing"}
	}
	p.between(come)
	return nil
}

// below returns how many of ascending offsets are below a limit.
func below(list []int64, limit int64) int {
	n, _ := slices.BinarySearchFunc(list, limit, cmp.Compare[int64])
	return n
}

// between makes a segment of puts that lie between two others, and returns how many there are.
func (p *patcher) between(come []int64) int {
	if n := len(come); n > 0 {
		putSegment(p.s, p.t.ordinal, &segment{lo: come[0], hi: come[n-1] + 1, rows: int64(n)})
	}
	return len(come)
}

// patch notes that rows of a segment are dead now, and that others came; there says of these which had a row before. One that is
// listed as dead is counted already, whether it is there or not.
func (g *segment) patch(ordinal uint32, went, come []int64, there map[int64]bool) error {
	dead, err := g.list(ordinal)
	if err != nil {
		return err
	}
	for _, o := range come {
		i, listed := slices.BinarySearchFunc(dead, o, func(d deadRow, o int64) int { return cmp.Compare(d.offset, o) })
		if listed {
			dead = slices.Delete(dead, i, i+1)
		} else if !there[o] {
			g.rows++
		}
	}
	g.setDead(dead)
	return g.note(ordinal, deadRows(went), 0)
}
