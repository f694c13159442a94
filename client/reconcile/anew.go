package reconcile

import (
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
)

// anew notes which rows of the source deltas wrote once more as they are, and where: 4 bytes for each row of the source, beside its tag.
type anew struct {
	parts []part
	at    [][]int32 // by part, and by the index of its tags, which are sorted then: the partition + 1; nil: none of the part
}

func newAnew(parts []part) *anew {
	return &anew{parts: parts, at: make([][]int32, len(parts))}
}

// find looks for a row among those of the source that belong to a partition.
func (a *anew) find(home int32, row digest.Entry) (i int, has bool) {
	if a.at[home] == nil {
		slices.Sort(a.parts[home].tags)
		a.at[home] = make([]int32, len(a.parts[home].tags))
	}
	return slices.BinarySearch(a.parts[home].tags, plane.TagOf(row))
}

// note notes where a row is. False: the source does not have it, or it is in another partition as well.
func (a *anew) note(home int32, row digest.Entry, partition int32) bool {
	i, has := a.find(home, row)
	if !has || a.at[home][i] != 0 {
		return false
	}
	a.at[home][i] = partition + 1
	return true
}

// where tells where a row was noted.
func (a *anew) where(home int32, row digest.Entry) (partition int32, noted bool) {
	if a.at[home] == nil {
		return 0, false
	}
	i, has := a.find(home, row)
	if !has || a.at[home][i] == 0 {
		return 0, false
	}
	return a.at[home][i] - 1, true
}
