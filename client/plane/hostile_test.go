package plane_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// No frame has fewer rows, or bytes, than none, whatever its pub says: who makes room for them is not asked.
func TestFrameOfANegativeSize(t *testing.T) {
	for _, x := range []struct{ count, bytes int64 }{{0, 0}, {-1, 0}, {0, -1}} {
		d := digest.Digest{Count: x.count}
		pub := d.Pub(digest.FrameID{})
		_, err := plane.ToFrame(&state.Frame{TopicId: make([]byte, 16), Incarnation: make([]byte, 16), Pub: pub[:], Sum: make([]byte, 32), Count: x.count, Bytes: x.bytes})
		if x.count < 0 || x.bytes < 0 {
			require.ErrorContains(t, err, "rows of")
		} else {
			require.NoError(t, err)
		}
	}
}
