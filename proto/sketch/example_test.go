package sketch_test

import (
	"fmt"

	"github.com/keyframelog/keyframe/proto/sketch"
)

// Two sets of a thousand that differ in two tags: the first cells suffice.
func Example() {
	var theirs, ours []uint64
	for i := range uint64(1000) {
		theirs, ours = append(theirs, i), append(ours, i)
	}
	theirs[7], ours = 7000, append(ours, 1234)

	enc := sketch.NewEncoder(theirs)
	dec := sketch.NewDecoder(ours)
	for done := false; !done; {
		var err error
		if done, err = dec.Add(enc.Next(nil, dec.More())); err != nil {
			fmt.Println(err)
			return
		}
	}
	onlyTheirs, onlyOurs := dec.Difference()
	fmt.Println(onlyTheirs, len(onlyOurs), dec.Cells())
	// Output: [7000] 2 64
}
