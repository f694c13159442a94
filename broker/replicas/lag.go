package replicas

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keyframelog/keyframe/proto/digest"
	api "github.com/keyframelog/keyframe/proto/state"
)

// sighting is what a replica says of a partition, and what the log has to say about that. It is made before the lock is taken: the log is on disk.
type sighting struct {
	said *api.ReplicaPartition // a copy of ours, without its lag
	// Of the verdict, if it names a point in this life of the log: the point, and whether a frame of the log's agrees with it.
	incarnation [16]byte
	point       Point
	comparable  bool
	agrees      answer
}

// answer is what the log knows about a digest.
type answer int

const (
	unknown answer = iota // there is no frame at the cut
	agrees
	differs
	startDiffers // the digests are of states that respect different log starts
)

func (r *Registry) look(t Topic, x *api.ReplicaPartition) sighting {
	s := sighting{said: proto.CloneOf(x)}
	s.said.LagRecords, s.said.LagMs = 0, 0 // that is ours to say, when somebody asks
	if len(s.said.Reason) > reasonBytesMax {
		s.said.Reason = strings.ToValidUTF8(s.said.Reason[:reasonBytesMax], "")
	}
	l, ok := r.cfg.Find(t, x.Partition)
	if !ok {
		return s
	}
	s.incarnation = l.Incarnation()
	if x.Compared == nil || string(x.Incarnation) != string(s.incarnation[:]) || x.Compared.Offset > l.Bounds().LastStable {
		return s
	}
	s.comparable = true
	s.point = Point{Offset: x.Compared.Offset, Start: x.Compared.Start, Digest: digestOf(x.Compared)}
	if frame, ok := l.FrameAt(s.point.Offset); ok {
		switch {
		case frame.Start != s.point.Start:
			s.agrees = startDiffers
		case frame.Digest == s.point.Digest:
			s.agrees = agrees
		default:
			s.agrees = differs
		}
	}
	return s
}

func digestOf(p *api.Point) digest.Digest {
	var sum [32]byte
	copy(sum[:], p.Sum)
	return digest.Digest{Sum: digest.SumFromBytes(sum), Count: p.Count}
}

// lag fills in how far a copy is behind the log now, from the position that it reported; nothing where the log is no longer there.
func (r *Registry) lag(t Topic, x *api.ReplicaPartition, now time.Time) {
	l, ok := r.cfg.Find(t, x.Partition)
	if !ok {
		return
	}
	b, position := l.Bounds(), x.Position
	if incarnation := l.Incarnation(); string(x.Incarnation) != string(incarnation[:]) {
		position = 0 // of another log, or no state at all: it lacks everything
	}
	position = max(position, b.LogStart)
	x.LagRecords, x.LagMs = max(b.LastStable-position, 0), 0
	if x.LagRecords == 0 {
		return
	}
	if ms, err := l.AppendTimeAt(position); err != nil {
		x.LagMs = -1
	} else {
		x.LagMs = max(now.UnixMilli()-ms, 0)
	}
}
