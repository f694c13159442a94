package client

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/state"
)

// fakeLog is a topic in memory, with the naive fold as its keyframer.
type fakeLog struct {
	topic   string
	kind    fold.Kind
	changed notifier

	mu sync.Mutex
	// Guarded by mu.
	topicID [16]byte
	parts   map[int32]*fakePartition
}

type fakePartition struct {
	incarnation [16]byte
	start       int64 // log start offset
	deltaStart  int64 // below it only rows are left
	horizon     int64 // tombstones below it are gone
	end         int64
	epoch       int32
	failure     string    // why the broker cannot fold it
	batches     []segment // a marker is a segment without records
	cuts        []int64
	states      map[int64]map[string]frame.Row // by cut
	rowStarts   map[int64]int64                // cuts at which the log start took effect
}

func newFakeLog(kind fold.Kind, partitions int32) *fakeLog {
	l := &fakeLog{topic: "t", kind: kind, parts: map[int32]*fakePartition{}}
	l.create(1, partitions)
	return l
}

// create makes the topic anew.
func (l *fakeLog) create(life byte, partitions int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topicID = [16]byte{0: 't', 15: life}
	for p := range partitions {
		l.parts[p] = &fakePartition{incarnation: [16]byte{0: 'i', 1: byte(p), 15: life}, states: map[int64]map[string]frame.Row{}}
	}
	l.changed.notify()
}

// grow gives the topic one more partition.
func (l *fakeLog) grow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := int32(len(l.parts))
	l.parts[p] = &fakePartition{incarnation: [16]byte{0: 'i', 1: byte(p), 15: l.topicID[15]}, states: map[int64]map[string]frame.Row{}}
	l.changed.notify()
}

// append writes one batch: key, value, key, value...; a value of "-" deletes.
func (l *fakeLog) append(p int32, kv ...string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.parts[p]
	var recs []batch.Record
	for i := 0; i < len(kv); i += 2 {
		rec := batch.Record{Offset: part.end + int64(i/2), Timestamp: 1_700_000_000_000 + part.end + int64(i/2), Key: []byte(kv[i])}
		if kv[i+1] != "-" {
			rec.Value = []byte(kv[i+1])
		}
		recs = append(recs, rec)
	}
	return l.addLocked(p, int64(len(recs)), recs)
}

// addLocked writes a batch that takes n offsets.
func (l *fakeLog) addLocked(p int32, n int64, recs []batch.Record) int64 {
	part := l.parts[p]
	part.batches = append(part.batches, segment{partition: p, records: recs, first: part.end, next: part.end + n, epoch: part.epoch})
	part.end += n
	l.changed.notify()
	return part.end
}

// marker writes a control batch, which takes one offset.
func (l *fakeLog) marker(p int32) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addLocked(p, 1, nil)
}

// abort writes n records of a transaction, which nobody gets to see, and the marker that ends it.
func (l *fakeLog) abort(p int32, n int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[p].end += n
	return l.addLocked(p, 1, nil)
}

// abortAround is abort with a frame cut between the records and the marker.
func (l *fakeLog) abortAround(p int32, n int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[p].end += n
	l.cutLocked(p)
	return l.addLocked(p, 1, nil)
}

// cut makes a key frame at the end.
func (l *fakeLog) cut(p int32) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cutLocked(p)
}

func (l *fakeLog) cutLocked(p int32) int64 {
	part := l.parts[p]
	if n := len(part.cuts); n == 0 || part.cuts[n-1] < part.end { // else the frame there is superseded
		part.cuts = append(part.cuts, part.end)
	}
	part.states[part.end] = l.stateLocked(p, part.end)
	l.changed.notify()
	return part.end
}

// cutAtLocked makes the newest frame, at an offset below the end.
func (l *fakeLog) cutAtLocked(p int32, offset int64) {
	part := l.parts[p]
	part.cuts = append(part.cuts, offset)
	part.states[offset] = l.stateLocked(p, offset)
}

// trim drops the batches and frames below the newest frame.
func (l *fakeLog) trim(p int32) { l.trimTo(p, 1<<62) }

// trimTo drops them below the newest frame at or below an offset.
func (l *fakeLog) trimTo(p int32, most int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.parts[p]
	for len(part.cuts) > 1 && part.cuts[1] <= most {
		part.cuts = part.cuts[1:]
	}
	if len(part.cuts) > 0 && part.cuts[0] <= most {
		part.deltaStart = part.cuts[0]
	}
}

// expire drops the tombstones among the rows.
func (l *fakeLog) expire(p int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[p].horizon = l.parts[p].deltaStart
}

// lead begins a leader epoch.
func (l *fakeLog) lead(p, epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[p].epoch = epoch
}

// cutOff takes away what lies at end and above, as a log that lost its end.
func (l *fakeLog) cutOff(p int32, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.parts[p]
	part.end = end
	part.batches = slices.DeleteFunc(part.batches, func(b segment) bool { return b.first >= end })
	part.cuts = slices.DeleteFunc(part.cuts, func(c int64) bool { return c > end })
	l.changed.notify()
}

// frameOf is what is published of a frame.
func (l *fakeLog) frameOf(p int32, cut int64) *state.Frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frameLocked(p, cut)
}

// deleteRecords moves the log start offset to the end.
func (l *fakeLog) deleteRecords(p int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[p].start = l.parts[p].end
}

// cutExpiring makes a key frame at which the rows whose last delta lies below start leave; where there is one at the end, it supersedes that.
func (l *fakeLog) cutExpiring(p int32, start int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.parts[p]
	if part.rowStarts == nil {
		part.rowStarts = map[int64]int64{}
	}
	part.start, part.rowStarts[part.end] = start, start
	return l.cutLocked(p)
}

// cutExpiringAt is cutExpiring at an offset below the end, which is the newest cut.
func (l *fakeLog) cutExpiringAt(p int32, offset, start int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.parts[p]
	if part.rowStarts == nil {
		part.rowStarts = map[int64]int64{}
	}
	part.start, part.rowStarts[offset] = start, start
	l.cutAtLocked(p, offset)
	l.changed.notify()
}

// thin drops one key frame.
func (l *fakeLog) thin(p int32, cut int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.parts[p]
	part.cuts = slices.DeleteFunc(part.cuts, func(c int64) bool { return c == cut })
}

// startAt is the log start in force at an offset.
func (p *fakePartition) startAt(offset int64) (start int64) {
	for cut, s := range p.rowStarts {
		if cut <= offset {
			start = max(start, s)
		}
	}
	return start
}

// stateLocked is the naive fold of everything below offset, which trimmed batches are still part of.
func (l *fakeLog) stateLocked(p int32, offset int64) map[string]frame.Row {
	out := l.rowsLocked(p, offset)
	start := l.parts[p].startAt(offset)
	maps.DeleteFunc(out, func(_ string, row frame.Row) bool { return row.Tombstone || row.Offset < start })
	return out
}

// rowsLocked is stateLocked with tombstones.
func (l *fakeLog) rowsLocked(p int32, offset int64) map[string]frame.Row {
	out := map[string]frame.Row{}
	start := int64(0)
	folder := fold.NewFolder(l.kind, 1<<20)
	for _, b := range l.parts[p].batches {
		for _, rec := range b.records {
			if rec.Offset >= offset {
				return out
			}
			if s := l.parts[p].startAt(rec.Offset); s > start {
				start = s
				maps.DeleteFunc(out, func(_ string, row frame.Row) bool { return row.Offset < start })
			}
			d, err := l.kind.Delta(rec.Key, rec.Value, rec.Headers)
			if err != nil {
				continue
			}
			prev, ok := out[string(rec.Key)]
			state, rejected := folder.Apply(fold.State{Exists: ok && !prev.Tombstone, Value: prev.Value}, d)
			if rejected == 0 {
				out[string(rec.Key)] = frame.Row{
					Key: rec.Key, Value: bytes.Clone(state.Value), Offset: rec.Offset, Timestamp: rec.Timestamp, Tombstone: !state.Exists,
					Headers: l.kind.RowHeaders(!state.Exists, rec.Headers),
				}
			}
		}
	}
	return out
}

func (l *fakeLog) state(p int32) map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]string{}
	for k, row := range l.stateLocked(p, l.parts[p].end) {
		out[k] = string(row.Value)
	}
	return out
}

func digestOf(rows map[string]frame.Row) (d digest.Digest) {
	var h digest.Hasher
	for _, row := range rows {
		d.Add(h.Entry(row.Key, row.Value))
	}
	return d
}

func (l *fakeLog) frameID(p int32, cut int64) digest.FrameID {
	return digest.FrameID{TopicID: l.topicID, Partition: p, Incarnation: l.parts[p].incarnation, Cut: cut, Start: l.parts[p].startAt(cut)}
}

// encode is the frame at a cut (-1: the newest), or with since >= 0 what changed from there on; false if there is none.
func (l *fakeLog) encode(p int32, cut, since int64) (data []byte, pub [32]byte, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.parts[p]
	if part == nil || len(part.cuts) == 0 {
		return nil, pub, false
	}
	if cut < 0 {
		cut = part.cuts[len(part.cuts)-1]
	}
	rows, ok := part.states[cut]
	if !ok || since >= 0 && since < part.horizon { // a log that holds what it has answered with gives it, or nothing
		return nil, pub, false
	}
	id := l.frameID(p, cut)
	var b bytes.Buffer
	w := frame.NewWriter(&b, frame.Header{TopicID: id.TopicID, Partition: p, Incarnation: id.Incarnation, Cut: cut, Start: id.Start, Since: since, Fold: l.kind})
	d := digestOf(rows)
	if since >= 0 {
		rows = l.rowsLocked(p, cut)
		maps.DeleteFunc(rows, func(_ string, row frame.Row) bool {
			return row.Offset < max(since, id.Start)
		})
	}
	sorted := slices.SortedFunc(maps.Values(rows), func(a, b frame.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := range sorted {
		if w.Append(&sorted[i]) != nil {
			return nil, pub, false
		}
	}
	pub = d.Pub(id)
	if w.Close(frame.Footer{Digest: d, Pub: pub, Rows: uint64(len(rows))}) != nil {
		return nil, pub, false
	}
	return b.Bytes(), pub, true
}

// consolidatedLocked is what a fetch from below the delta start offset gets first: the rows from there on, at most n of them (0: all),
// and where the next fetch goes on.
func (l *fakeLog) consolidatedLocked(p int32, from int64, n int) (seg segment, next int64) {
	part := l.parts[p]
	rows := slices.SortedFunc(maps.Values(l.rowsLocked(p, part.deltaStart)), func(a, b frame.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	seg, next = segment{partition: p, epoch: part.epoch}, part.deltaStart
	for _, row := range rows {
		if row.Offset < from || row.Tombstone && row.Offset < part.horizon {
			continue
		}
		if len(seg.records) == 0 {
			seg.first, seg.next = row.Offset, row.Offset
		}
		if n > 0 && len(seg.records) == n {
			next = row.Offset
			break
		}
		rec := batch.Record{Offset: row.Offset, Timestamp: row.Timestamp, Key: row.Key, Value: row.Value, Headers: row.Headers}
		if row.Tombstone {
			rec.Value = nil
		}
		seg.gaps = seg.gaps || row.Offset != seg.next
		seg.next = row.Offset + 1
		seg.records = append(seg.records, rec)
	}
	return seg, next
}

// fakeTail reads a fakeLog as the Kafka tail reads a broker. fault may alter each segment on its way.
type fakeTail struct {
	log     *fakeLog
	fault   func(segment) []segment
	held    atomic.Bool  // nothing is fetched
	rowsMax atomic.Int64 // in one fetch; 0: no limit

	mu       sync.Mutex
	assigned map[int32]fakeAssignment
}

type fakeAssignment struct {
	offset  int64
	epoch   int32
	topicID [16]byte
}

func newFakeTail(l *fakeLog) *fakeTail {
	return &fakeTail{log: l, assigned: map[int32]fakeAssignment{}}
}

func (f *fakeTail) describe(context.Context) (topicInfo, error) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	info := topicInfo{id: f.log.topicID, fold: f.log.kind, starts: map[int32]int64{}, ends: map[int32]int64{}}
	for p, part := range f.log.parts {
		info.partitions = append(info.partitions, p)
		info.starts[p], info.ends[p] = part.start, part.end
	}
	return info, nil
}

// inTransaction knows the records that abort leaves out.
func (f *fakeTail) inTransaction(_ context.Context, p int32, offset int64) (bool, error) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	part := f.log.parts[p]
	visible := slices.ContainsFunc(part.batches, func(b segment) bool { return b.first <= offset && offset < b.next })
	return offset >= part.deltaStart && offset < part.end && !visible, nil
}

func (f *fakeTail) assign(p int32, offset int64, epoch int32) {
	f.log.mu.Lock()
	id := f.log.topicID
	f.log.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.assigned[p] = fakeAssignment{offset, epoch, id}
}

// hold lets nothing be fetched until release.
func (f *fakeTail) hold() {
	f.mu.Lock() // no poll is under way
	defer f.mu.Unlock()
	f.held.Store(true)
}

func (f *fakeTail) release() {
	f.held.Store(false)
	f.log.changed.notify()
}

func (f *fakeTail) remove(p int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.assigned, p)
}

func (f *fakeTail) close() {}

func (f *fakeTail) poll(ctx context.Context) ([]segment, error) {
	for {
		changed := f.log.changed.wait()
		if out := f.pollOnce(); len(out) > 0 {
			return out, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *fakeTail) pollOnce() []segment {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held.Load() {
		return nil
	}
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	var out []segment
	for p, a := range f.assigned {
		part := f.log.parts[p]
		switch {
		case a.topicID != f.log.topicID:
			out = append(out, segment{partition: p, err: errTopicReplace})
			delete(f.assigned, p)
			continue
		case a.offset < part.start || a.offset > part.end:
			out = append(out, segment{partition: p, err: errOutOfRange})
			delete(f.assigned, p)
			continue
		}
		if a.offset < part.deltaStart {
			seg, next := f.log.consolidatedLocked(p, a.offset, int(f.rowsMax.Load()))
			if a.offset = next; len(seg.records) > 0 {
				out = append(out, seg)
			}
		}
		for _, b := range part.batches {
			if a.offset < part.deltaStart || b.next <= a.offset {
				continue
			}
			segs := []segment{b}
			if f.fault != nil {
				segs = f.fault(b)
			}
			out = append(out, segs...)
			a.offset = b.next
		}
		f.assigned[p] = a
	}
	return out
}
