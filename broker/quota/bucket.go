package quota

import (
	"math"
	"time"
)

// Bucket holds tokens for changes, up to those of all windows; it fills at its bound (KIP-599). The zero value is a full one.
type Bucket struct {
	used   float64 // tokens that are missing
	lastMs int64
}

// Take takes n tokens, all of them although there may be fewer: a change of many partitions has to be possible. strict takes none when
// there is none, and says so.
func (b *Bucket) Take(n, bound float64, strict bool, nowMs int64) (taken bool) {
	b.refill(bound, nowMs)
	if strict && b.left(bound) < 0 {
		return false
	}
	b.used += n
	return true
}

// Wait is how long it takes until there is a token again.
func (b *Bucket) Wait(bound float64, nowMs int64) time.Duration {
	b.refill(bound, nowMs)
	if left := b.left(bound); left < 0 {
		return waitOf(-left / bound * 1000)
	}
	return 0
}

// FullMs is when the bucket will be full again if nothing more is taken.
func (b *Bucket) FullMs(bound float64) int64 {
	return b.lastMs + int64(min(math.Ceil(b.used/bound*1000), math.MaxInt32))
}

func (b *Bucket) left(bound float64) float64 { return windows*windowMs/1000*bound - b.used }

func (b *Bucket) refill(bound float64, nowMs int64) {
	if nowMs > b.lastMs {
		b.used = max(b.used-bound*float64(nowMs-b.lastMs)/1000, 0)
		b.lastMs = nowMs
	}
}
