package deadline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var epoch = time.Unix(1_700_000_000, 0)

// TestHeap holds the heap against a plain list.
func TestHeap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h Heap[int]
		all := make([]Place[int], 8)
		due := map[int]time.Time{}
		for i := range all {
			all[i].Of = i
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(all)-1).Draw(rt, "place")
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0:
				h.Remove(&all[i])
				delete(due, i)
			case 1:
				require.False(rt, h.Set(&all[i], time.Time{}))
				delete(due, i)
			default:
				due[i] = epoch.Add(time.Duration(rapid.IntRange(0, 9).Draw(rt, "at")))
				earliest := h.Set(&all[i], due[i])
				of, _, _ := h.First()
				require.Equal(rt, of == i, earliest)
			}
			of, at, ok := h.First()
			require.Equal(rt, len(due) > 0, ok)
			if !ok {
				continue
			}
			require.Equal(rt, due[of], at)
			for _, other := range due {
				require.False(rt, other.Before(at))
			}
		}
	})
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop, wake, done := make(chan struct{}), make(chan struct{}, 1), make(chan struct{})
		start := time.Now()
		var at []time.Duration
		go func() {
			defer close(done)
			Keep(stop, wake, func() time.Duration {
				at = append(at, time.Since(start))
				return time.Minute
			})
		}()
		time.Sleep(90 * time.Second)
		Wake(wake)
		synctest.Wait()
		time.Sleep(61 * time.Second)
		close(stop)
		<-done
		require.Equal(t, []time.Duration{0, time.Minute, 90 * time.Second, 150 * time.Second}, at)
		Wake(wake)
		Wake(wake) // nobody listens, and it does not wait
	})
}
