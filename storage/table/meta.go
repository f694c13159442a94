package table

import (
	"encoding/binary"
	"slices"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
)

// meta is all that a table knows besides its rows. It is stored with every commit, in the same Ingest as the rows, and is immutable
// in memory: a commit makes a new one.
type meta struct {
	id       Identity
	position int64
	epoch    int32 // leader epoch of the last batch below the position; -1: not known
	start    int64 // log start offset that the rows respect
	horizon  int64
	digest   digest.Digest
	bytes    int64
	rejects  Rejects
	frames   []Frame // ascending cuts
	trims    []trimmed
	starts   []StartMove // ascending; those at or below the oldest frame's cut are forgotten
	past     past
	due      []Frame // ascending, above the position; see CutAgain
}

// StartMove is a cut at which the log start offset that the rows respect moved. It is kept where the frame was thinned too: the state
// at an offset above it is without the rows that left there.
type StartMove struct {
	Cut, Start int64
}

// trimmed remembers when the deltas below a cut were given up: the tombstones below it are kept for a time from then on.
type trimmed struct {
	cut  int64
	atMs int64
}

const (
	metaVersion   = 5       // where frames are due
	metaSettled   = 4       // as 5, and none are
	metaUnsettled = 3       // as 4, before any table was settled: it is read
	metaPlain     = 2       // as 3, without moves of the log start: it is read
	trimsMax      = 64      // remembered; beyond that, every other one is forgotten, which only keeps tombstones longer
	framesMax     = 1 << 20 // refused at decoding, as are more moves
	rejectsKinds  = len(Rejects{})
)

// newMeta is what is known of a table into which nothing was folded yet.
func newMeta(id Identity) *meta { return &meta{id: id, epoch: -1} }

// clone returns a copy whose slices may be changed.
func (m *meta) clone() *meta {
	c := *m
	c.frames = slices.Clone(m.frames)
	c.trims = slices.Clone(m.trims)
	c.starts = slices.Clone(m.starts)
	c.past.eras = slices.Clone(m.past.eras)
	return &c
}

// find returns the index of the frame at cut.
func (m *meta) find(cut int64) (int, bool) {
	return slices.BinarySearchFunc(m.frames, cut, func(f Frame, c int64) int {
		switch {
		case f.Cut < c:
			return -1
		case f.Cut > c:
			return 1
		}
		return 0
	})
}

func (m *meta) frame(cut int64) (Frame, error) {
	i, ok := m.find(cut)
	if !ok {
		return Frame{}, ErrNoFrame
	}
	return m.frames[i], nil
}

// now is the frame that a cut at the position would make.
func (m *meta) now(timeMs int64) Frame {
	return Frame{Cut: m.position, Start: m.start, Digest: m.digest, Bytes: m.bytes, Rejected: m.rejects.Total(), CutTimeMs: timeMs}
}

// lastCut returns the newest cut; ok is false where nothing was cut, and then no interval needs undo entries.
func (m *meta) lastCut() (int64, bool) {
	if len(m.frames) == 0 {
		return 0, false
	}
	return m.frames[len(m.frames)-1].Cut, true
}

func (m *meta) remember(t trimmed) {
	m.trims = append(m.trims, t)
	if len(m.trims) <= trimsMax {
		return
	}
	kept := m.trims[:0]
	for i := range m.trims {
		if i%2 == 1 {
			kept = append(kept, m.trims[i])
		}
	}
	if len(m.trims)%2 == 1 {
		kept = append(kept, t)
	}
	m.trims = kept
}

func appendDigest(b []byte, d digest.Digest) []byte {
	s := d.Sum.Bytes()
	return binary.AppendUvarint(append(b, s[:]...), uint64(d.Count))
}

func readDigest(r *reader) (d digest.Digest) {
	if s := r.bytes(32); s != nil {
		d.Sum = digest.SumFromBytes([32]byte(s))
	}
	d.Count = r.offset()
	return d
}

func appendMeta(b []byte, m *meta) []byte {
	version := byte(metaSettled)
	if len(m.due) > 0 {
		version = metaVersion
	}
	b = append(b, version)
	b = append(b, m.id.TopicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(m.id.Partition))
	b = append(b, m.id.Incarnation[:]...)
	b = append(b, byte(m.id.Fold))
	for _, v := range [...]int64{m.position, m.start, m.horizon, m.bytes} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	b = binary.AppendVarint(b, int64(m.epoch))
	b = appendDigest(b, m.digest)
	b = binary.AppendUvarint(b, uint64(rejectsKinds))
	for _, n := range m.rejects {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(m.frames)))
	for i := range m.frames {
		b = appendFrame(b, &m.frames[i])
	}
	b = binary.AppendUvarint(b, uint64(len(m.trims)))
	for _, t := range m.trims {
		b = binary.AppendVarint(binary.AppendUvarint(b, uint64(t.cut)), t.atMs)
	}
	b = binary.AppendUvarint(b, uint64(len(m.starts)))
	for _, x := range m.starts {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(x.Cut)), uint64(x.Start))
	}
	kept := m.kept()
	b = binary.AppendUvarint(b, uint64(len(kept)))
	for _, cut := range kept {
		b = binary.AppendUvarint(b, uint64(cut))
	}
	b = appendPast(b, &m.past)
	if version == metaVersion {
		b = appendDue(b, m.due)
	}
	return seal(b)
}

// greatest returns the newest cut at or below an offset; ok is false where there is none.
func (m *meta) greatest(offset int64) (cut int64, ok bool) {
	i, found := m.find(offset)
	if !found {
		i--
	}
	if i < 0 {
		return 0, false
	}
	return m.frames[i].Cut, true
}

// trimmedTo is the cut of the newest trim; -1: none is remembered.
func (m *meta) trimmedTo() int64 {
	if n := len(m.trims); n > 0 {
		return m.trims[n-1].cut
	}
	return -1
}

// kept are the cuts of the frames that are.
func (m *meta) kept() (cuts []int64) {
	for i := range m.frames {
		if m.frames[i].Kept {
			cuts = append(cuts, m.frames[i].Cut)
		}
	}
	return cuts
}

func (m *meta) decodeKept(r *reader) bool {
	n := r.uvarint()
	if n > uint64(len(m.frames)) {
		return false
	}
	for range n {
		i, ok := m.find(r.offset())
		if !ok || m.frames[i].Kept {
			return false
		}
		m.frames[i].Kept = true
	}
	return true
}

func appendFrame(b []byte, f *Frame) []byte {
	b = binary.AppendUvarint(b, uint64(f.Cut))
	b = binary.AppendUvarint(b, uint64(f.Start))
	b = appendDigest(b, f.Digest)
	b = binary.AppendUvarint(b, uint64(f.Bytes))
	b = binary.AppendUvarint(b, f.Rejected)
	return binary.AppendVarint(b, f.CutTimeMs)
}

func decodeMeta(ordinal uint32, b []byte) (*meta, error) {
	corrupt := func(why string) (*meta, error) {
		return nil, &CorruptError{Ordinal: ordinal, What: "meta", Offset: -1, Why: why}
	}
	version := byte(metaVersion)
	if len(b) > 0 && b[0] >= metaPlain && b[0] < metaVersion {
		version = b[0]
	}
	b, err := unseal(ordinal, "meta", -1, b, version)
	if err != nil {
		return nil, err
	}
	r := reader{b: b}
	head := r.bytes(16 + 4 + 16 + 1)
	if head == nil {
		return corrupt("too short")
	}
	m := &meta{}
	copy(m.id.TopicID[:], head)
	m.id.Partition = int32(binary.BigEndian.Uint32(head[16:]))
	copy(m.id.Incarnation[:], head[20:])
	m.id.Fold = fold.Kind(head[36])
	m.position, m.start, m.horizon, m.bytes = r.offset(), r.offset(), r.offset(), r.offset()
	m.epoch = int32(r.varint())
	m.digest = readDigest(&r)
	if n := r.uvarint(); n > uint64(rejectsKinds) {
		return corrupt("too many kinds of rejections")
	} else {
		for i := range n {
			m.rejects[i] = r.uvarint()
		}
	}
	if err := m.decodeFrames(ordinal, &r); err != nil {
		return nil, err
	}
	n := r.uvarint()
	if n > trimsMax {
		return corrupt("too many trims")
	}
	for range n {
		m.trims = append(m.trims, trimmed{cut: r.offset(), atMs: r.varint()})
	}
	if version != metaPlain {
		if n = r.uvarint(); n > framesMax || n > uint64(len(r.b)) {
			return corrupt("too many moves of the log start")
		}
		for range n {
			m.starts = append(m.starts, StartMove{Cut: r.offset(), Start: r.offset()})
		}
	}
	m.past = past{unsettled: uncounted}
	if version >= metaSettled {
		if !m.decodeKept(&r) {
			return corrupt("a frame is kept that is none")
		}
		m.past = readPast(&r)
	}
	if version == metaVersion && !m.decodeDue(&r) {
		return corrupt("frames that are due are out of order")
	}
	if r.bad || len(r.b) != 0 {
		return corrupt("malformed")
	}
	return m, nil
}

func (m *meta) decodeFrames(ordinal uint32, r *reader) error {
	n := r.uvarint()
	if n > framesMax || n > uint64(len(r.b)) {
		return &CorruptError{Ordinal: ordinal, What: "meta", Offset: -1, Why: "too many frames"}
	}
	last := int64(-1)
	for range n {
		f := Frame{Cut: r.offset(), Start: r.offset()}
		f.Digest = readDigest(r)
		f.Bytes, f.Rejected, f.CutTimeMs = r.offset(), r.uvarint(), r.varint()
		if r.bad || f.Cut <= last || f.Cut > m.position {
			return &CorruptError{Ordinal: ordinal, What: "meta", Offset: f.Cut, Why: "frames out of order"}
		}
		last = f.Cut
		m.frames = append(m.frames, f)
	}
	return nil
}
