package keyframer

import "github.com/keyframelog/keyframe/storage/table"

// holdings is what a partition keeps: what retention is decided from.
type holdings struct {
	frames     []table.Frame // oldest first
	deltaStart int64         // N1; 0 and no frame there: never trimmed
	end        int64
	lastBatch  int64 // base offset of the last raw batch, which stays
	deltaBytes int64 // of the raw deltas
	tableBytes int64 // of the rows; what verifying a frame reads
}

// A trim reads a whole frame back, so it has to be worth it: it waits until it drops 1/trimStep of what retention keeps,
// or of the rows if that is more (but never more than retention keeps: the raw deltas stay below twice that).
const (
	trimStep     = 8
	trimStepTime = 16
)

// trimTarget returns the cut that becomes the delta start offset, or -1 and when to look again (0: when something has
// changed).
func trimTarget(h *holdings, s *Settings, nowMs int64) (cut, againMs int64) {
	byTime, againMs := trimByTime(h, s, nowMs)
	return max(byTime, trimByBytes(h, s, nowMs)), againMs
}

// trimmable are the frames that the delta start offset may move to: above it, and not above the last batch.
func (h *holdings) trimmable() []table.Frame {
	first, last := 0, len(h.frames)
	for first < last && h.frames[first].Cut <= h.deltaStart {
		first++
	}
	for last > first && h.frames[last-1].Cut > h.lastBatch {
		last--
	}
	return h.frames[first:last]
}

// trimByTime picks the newest frame that is older than the retention time.
func trimByTime(h *holdings, s *Settings, nowMs int64) (cut, againMs int64) {
	cut = -1
	if s.DeltaRetentionMs < 0 {
		return cut, 0
	}
	keepMs := max(s.DeltaRetentionMs, s.MinCompactionLagMs)
	oldestMs := int64(0)
	if h.deltaStart > 0 && len(h.frames) > 0 {
		oldestMs = h.frames[0].CutTimeMs
	}
	for _, f := range h.trimmable() {
		if f.CutTimeMs < oldestMs+keepMs/trimStepTime {
			continue // not yet worth a verification
		}
		if f.CutTimeMs+keepMs > nowMs {
			if againMs == 0 {
				againMs = f.CutTimeMs + keepMs
			}
			break
		}
		cut = f.Cut
	}
	return cut, againMs
}

// trimByBytes picks the oldest frame above which no more than the retention size is left. How the bytes lie among the
// offsets is estimated as even; the next trim corrects it.
func trimByBytes(h *holdings, s *Settings, nowMs int64) int64 {
	keep := s.DeltaRetentionBytes
	if keep < 0 || h.deltaBytes <= keep || h.end <= h.deltaStart {
		return -1
	}
	step := min(max(h.tableBytes, keep)/trimStep, keep)
	if h.deltaBytes-keep < step {
		return -1
	}
	best := int64(-1)
	for _, f := range h.trimmable() {
		if f.CutTimeMs+s.MinCompactionLagMs > nowMs {
			break
		}
		best = f.Cut
		left := float64(h.deltaBytes) * float64(h.end-f.Cut) / float64(h.end-h.deltaStart)
		if left <= float64(keep) {
			break
		}
	}
	return best
}

// thinTarget returns the cut of a frame to drop so that at most retain are left above the oldest one, or -1. The oldest
// (N1, once something was trimmed) and the newest stay. Among the others the one goes that leaves the shortest gap in
// time, so that what is left is spread out.
func thinTarget(frames []table.Frame, retain int) int64 {
	if len(frames) <= max(retain, 1)+1 {
		return -1
	}
	best, bestGap := int64(-1), int64(0)
	for i := 1; i < len(frames)-1; i++ {
		if gap := frames[i+1].CutTimeMs - frames[i-1].CutTimeMs; best < 0 || gap < bestGap {
			best, bestGap = frames[i].Cut, gap
		}
	}
	return best
}
