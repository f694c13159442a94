package replicas

import (
	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/log"
)

// Topic is one life of a topic: one that is created anew under the same name has another ID.
type Topic struct {
	ID   [16]byte
	Name string
}

// Point is the digest of a state at an offset, under a log start.
type Point struct {
	Offset, Start int64
	Digest        digest.Digest
}

// Log is what the broker says of a partition.
type Log interface {
	Incarnation() [16]byte
	Bounds() log.Bounds
	// AppendTimeAt returns when the record at an offset was appended, Unix milliseconds.
	AppendTimeAt(offset int64) (ms int64, err error)
	// FrameAt returns the digest of the retained key frame at a cut.
	FrameAt(cut int64) (Point, bool)
}

// In finds the partitions that a keyframer folds.
func In(k *keyframer.Keyframer) func(Topic, int32) (Log, bool) {
	return func(t Topic, partition int32) (Log, bool) {
		found, ok := k.Topic(t.Name)
		if !ok || found.ID != t.ID {
			return nil, false
		}
		p, err := found.Partition(partition)
		return folded{p}, err == nil
	}
}

type folded struct{ *keyframer.Partition }

func (f folded) Incarnation() [16]byte { return f.Partition.Incarnation }

func (f folded) AppendTimeAt(offset int64) (int64, error) { return f.Log().AppendTimeAt(offset) }

func (f folded) FrameAt(cut int64) (Point, bool) {
	t, err := f.Table()
	if err != nil {
		return Point{}, false
	}
	frame, err := t.Frame(cut)
	return Point{Offset: cut, Start: frame.Start, Digest: frame.Digest}, err == nil
}
