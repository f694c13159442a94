package table

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// There are two eras at most, and one that goes has no row that somebody needs: all are named by cuts below the oldest one.
func TestEras(t *testing.T) {
	var p past
	p.settle(8, 0)
	require.Empty(t, p.trim(5))
	p.settle(20, 0)
	require.Empty(t, p.trim(8))
	require.Equal(t, []int64{8, 20}, p.eras)
	p.settle(30, 0)
	require.Equal(t, []int64{8}, p.trim(20))
	require.Equal(t, []int64{20, 30}, p.eras)
	require.Equal(t, []int64{20, 30}, p.trim(30))
	require.Empty(t, p.eras)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	highest := map[int64]int64{} // era -> the highest cut that a row in it is named by
	p, oldest, newest := past{}, int64(0), int64(1)
	for range 10_000 {
		switch rng.IntN(3) {
		case 0:
			newest += 1 + rng.Int64N(5)
			p.settle(newest, 0)
		case 1:
			if p.settled > oldest {
				era := p.eras[len(p.eras)-1]
				highest[era] = max(highest[era], oldest+rng.Int64N(p.settled-oldest))
			}
		default:
			oldest += rng.Int64N(newest - oldest + 1)
			for _, era := range p.trim(oldest) {
				require.Less(t, highest[era], oldest)
				delete(highest, era)
			}
		}
		require.LessOrEqual(t, len(p.eras), erasMax)
	}
}
