package client

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
)

// A call that breaks off is made again; what it had brought counts once among the rows that are held. One that brings too many is not.
func TestRowsOfABrokenCallCountOnce(t *testing.T) {
	g := newDriftRig(t, 100, Memory()).start()
	cut := g.log.cut(0)
	g.awaitVerdict(cut, Equal)
	f, err := plane.ToFrame(g.log.frameOf(0, cut))
	require.NoError(t, err)
	p := g.r.partitions[0]
	c := p.comparison(p.rows(), f)
	require.NoError(t, c.rehash())
	c.bytesMax = 101 * (115 + 128)
	g.plane.repair.rowsMax.Store(10)
	g.plane.repair.broken.Store(2)
	rows, err := c.fetch(testContext(t), c.tags)
	require.NoError(t, err)
	require.Len(t, rows, 101)
	require.EqualValues(t, 3, g.plane.repair.resolves.Load())
	c.bytesMax = 100 * (115 + 128)
	_, err = c.fetch(testContext(t), c.tags)
	require.ErrorIs(t, err, plane.ErrTooMuch)
	require.EqualValues(t, 4, g.plane.repair.resolves.Load())
}
