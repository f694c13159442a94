package reconcile

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/state"
)

// A topic that becomes another one while it is compared, or does not know any more what was written since the cut, is an error.
func TestATopicThatChangesMeanwhile(t *testing.T) {
	for name, x := range map[string]struct {
		change func(f *fakeTopic)
		fails  func(t *testing.T, err error)
	}{
		"created anew": {
			func(f *fakeTopic) { f.parts[0].incarnation[5]++ },
			func(t *testing.T, err error) { require.ErrorIs(t, err, plane.ErrOtherIncarnation) },
		},
		"one more partition": {
			func(f *fakeTopic) { f.parts = append(f.parts, newFakeTopicParts(3)[2]) },
			func(t *testing.T, err error) { require.ErrorContains(t, err, "it was given more than 2") },
		},
		"another frame in the place of what changed": {
			func(f *fakeTopic) { f.header = func(fr *plane.Frame, _ *int64) { fr.Cut++ } },
			func(t *testing.T, err error) { require.ErrorIs(t, err, plane.ErrFrameChanged) },
		},
		"what changed since another cut": {
			func(f *fakeTopic) { f.header = func(_ *plane.Frame, since *int64) { *since-- } },
			func(t *testing.T, err error) { require.ErrorIs(t, err, plane.ErrFrameChanged) },
		},
		"below its horizon": {
			func(f *fakeTopic) {
				f.refuse = func(call string) state.Reason {
					if call == "since" {
						return state.Reason_REASON_BELOW_HORIZON
					}
					return 0
				}
			},
			func(t *testing.T, err error) { require.ErrorIs(t, err, ErrTooOld) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeTopic(t, 2)
			source := f.fill(100, false)
			source["new"] = "new"
			var once sync.Once
			f.before = func(call string) {
				if call == "sketch" {
					once.Do(func() {
						f.mu.Lock()
						x.change(f)
						last := len(f.parts) - 1
						f.mu.Unlock()
						f.write(last, "key-1", "newer")
					})
				}
			}
			_, err := Compare(testContext(t), f.config(t), sourceOf(source))
			x.fails(t, err)
		})
	}
}

// A key that is live twice, in its own partition, which is the source's row for row, and in another one: that other row goes.
func TestARowTooManyBesideAnEqualPartition(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(100, false)
	other := 1 - home("key-7", 2)
	f.write(other, "key-7", "left behind")
	r, err := Compare(testContext(t), f.config(t), sourceOf(source))
	require.NoError(t, err)
	require.Len(t, r.Writes, 1)
	require.True(t, r.Writes[0].Duplicate)
	require.EqualValues(t, other, r.Writes[0].Partition)
	f.apply(r.Writes)
	require.Equal(t, source, union(t, f.state()))
}
