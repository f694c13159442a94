package keyframer

import "github.com/keyframelog/keyframe/proto/batch"

// straddling are the producers whose transactions began below the position and end above it. Cuts avoid such places where they can: the
// state there is as well defined, but a transaction's deltas lie on both sides. After a restart it knows of those that began since: it is
// a preference.
type straddling struct{ producers map[int64]struct{} }

// pass takes a batch that the position has passed.
func (s *straddling) pass(b batch.Batch) {
	switch {
	case !b.IsTransactional():
	case b.IsControl():
		delete(s.producers, b.ProducerID())
	default:
		if s.producers == nil {
			s.producers = map[int64]struct{}{}
		}
		s.producers[b.ProducerID()] = struct{}{}
	}
}

func (s *straddling) any() bool { return len(s.producers) > 0 }
