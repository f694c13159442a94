package frame_test

import (
	"bytes"
	"fmt"
	"io"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
)

func Example() {
	row := frame.Row{Key: []byte("user-1"), Value: []byte("alice"), Offset: 41, Timestamp: 1_700_000_000_000}
	var hasher digest.Hasher
	var d digest.Digest
	d.Add(hasher.Entry(row.Key, row.Value))

	var stream bytes.Buffer
	w := frame.NewWriter(&stream, frame.Header{Cut: 42, Since: -1, Fold: fold.LastValue})
	if err := w.Append(&row); err != nil {
		panic(err)
	}
	if err := w.Close(frame.Footer{Digest: d, Pub: d.Pub(digest.FrameID{Cut: 42}), Rows: 1}); err != nil {
		panic(err)
	}

	r, err := frame.NewReader(&stream, 0)
	for err == nil {
		var block frame.Block
		if block, err = r.Next(nil); err != nil {
			break
		}
		for row, err := range block.Rows() {
			fmt.Printf("%s=%s at %d, %v\n", row.Key, row.Value, row.Offset, err)
		}
	}
	footer, complete := r.Footer()
	fmt.Println(err == io.EOF, complete, footer.Digest == d)
	// Output:
	// user-1=alice at 41, <nil>
	// true true true
}
