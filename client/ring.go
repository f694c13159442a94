package client

import (
	"sort"

	"github.com/keyframelog/keyframe/proto/digest"
)

// ring remembers the digest at recent positions, so that a frame that is announced after the replica has passed its cut
// can still be compared. Memory grows as it fills, up to its capacity, 48 bytes each.
type ring struct {
	capacity int
	// dense: there is an entry behind every record, so that between two entries the state is that of the lower one. Else
	// only the positions themselves are known.
	dense   bool
	entries []ringEntry // ascending by position, from start, wrapping
	start   int
}

type ringEntry struct {
	position int64
	digest   digest.Digest
}

func (r *ring) reset(dense bool) { r.entries, r.start, r.dense = r.entries[:0], 0, dense }

func (r *ring) add(position int64, d digest.Digest) {
	if len(r.entries) < r.capacity {
		r.entries = append(r.entries, ringEntry{position, d})
		return
	}
	r.entries[r.start] = ringEntry{position, d}
	r.start = (r.start + 1) % len(r.entries)
}

func (r *ring) at(i int) *ringEntry { return &r.entries[(r.start+i)%len(r.entries)] }

// digestAt returns the digest at position n, if it is known. The caller has n at or below the replica's own position.
func (r *ring) digestAt(n int64) (digest.Digest, bool) {
	i := sort.Search(len(r.entries), func(i int) bool { return r.at(i).position > n }) - 1
	if i < 0 {
		return digest.Digest{}, false
	}
	e := r.at(i)
	return e.digest, r.dense || e.position == n
}
