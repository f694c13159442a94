package client

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// What a whole key frame is said to take is what it takes, however small or large its rows are: where nothing else helps, and beside what takes less.
func TestVerifyDirSaysWhatAFrameTakes(t *testing.T) {
	for name, c := range map[string]struct {
		fold        fold.Kind
		rows, value int
	}{
		"one block":      {fold.LastValue, 100, 1},
		"10 bytes":       {fold.LastValue, 60_000, 3},
		"counters":       {fold.Counter, 60_000, 0},
		"100 bytes":      {fold.LastValue, 20_000, 93},
		"1,000 bytes":    {fold.LastValue, 3000, 993},
		"50 kB":          {fold.LastValue, 60, 50_000},
		"a row a block":  {fold.LastValue, 6, 400_000},
		"nothing in it":  {fold.LastValue, 1, 0},
		"of two lengths": {fold.LastValue, 20_001, 10},
	} {
		t.Run(name, func(t *testing.T) {
			g := newDirRig(t, c.fold)
			var kv []string
			for i := range c.rows {
				value := strings.Repeat("v", c.value)
				if c.fold == fold.Counter {
					value = "1"
				}
				kv = append(kv, fmt.Sprintf("k%06d", i), value)
			}
			g.log.append(0, kv...)
			g.store(nil, 0, 0)
			g.log.cut(0)
			g.log.trim(0)
			g.log.expire(0)
			count := received{of: "/frames/"}
			g.cfg.HTTPClient = &http.Client{Transport: &count}
			d := g.verify()
			require.Equal(t, ByFrame, d.Repair.Method, d.Reason)
			require.Equal(t, d.Repair.FrameBytes, d.Repair.Bytes)
			require.Less(t, count.bytes.Load(), int64(2*sampleBytes+(400_000)), "it is not loaded to tell")
			count.bytes.Store(0)
			g.repair(t)
			require.InEpsilon(t, count.bytes.Load(), d.Repair.Bytes, 0.05)
		})
	}
}
