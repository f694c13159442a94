package sketch_test

import (
	"math/rand/v2"

	"github.com/keyframelog/keyframe/proto/sketch"
)

// randomTags are different with all but certainty.
func randomTags(r *rand.Rand, n int) []uint64 {
	tags := make([]uint64, n)
	for i := range tags {
		tags[i] = r.Uint64()
	}
	return tags
}

// reconcile decodes what theirs differ in from ours, over the codec, as a client does.
func reconcile(theirs, ours []uint64) (dec *sketch.Decoder, bytes, trips int, err error) {
	enc, dec := sketch.NewEncoder(theirs), sketch.NewDecoder(ours)
	for done := false; !done && err == nil; trips++ {
		first := enc.At()
		b := sketch.Append(nil, first, int64(len(theirs)), enc.Next(nil, dec.More()))
		bytes += len(b)
		var cells []sketch.Cell
		if cells, err = sketch.Parse(b, first, int64(len(theirs))); err == nil {
			done, err = dec.Add(cells)
		}
	}
	return dec, bytes, trips, err
}
