package keyframer

import (
	"fmt"
	"slices"
	"sort"

	"github.com/keyframelog/keyframe/storage/table"
)

// holdings is what a partition keeps: what retention is decided from.
type holdings struct {
	frames     []table.Frame // oldest first
	deltaStart int64         // N1; 0 and no frame there: never trimmed
	logStart   int64         // above N1, the deltas below it are no consumer's any more
	lastBatch  int64         // base offset of the last raw batch, which stays
	deltaBytes int64         // of the raw deltas
	// bytesFrom is what of them a trim to an offset would leave.
	bytesFrom func(offset int64) (int64, error)
}

// A trim reads a whole frame back, so it waits until it is worth it, but not for long: until the delta start offset moves
// by a sixteenth of the retention time, or so much time has passed since a frame was due; and until an eighth more than the
// retention size is kept.
const (
	trimStepBytes = 8
	trimStepTime  = 16
)

// trimTarget returns the cut that becomes the delta start offset, or -1 and when to look again (0: when something has
// changed).
func trimTarget(h *holdings, s *Settings, nowMs int64) (cut, againMs int64, err error) {
	byTime, againMs := trimByTime(h, s, nowMs)
	byBytes, laterMs, err := trimByBytes(h, s, nowMs)
	return max(byTime, byBytes, trimByStart(h)), earliest(againMs, laterMs), err
}

// trimByStart picks the newest frame at or below the log start: consumers see nothing of what a trim to it gives up.
func trimByStart(h *holdings) (cut int64) { return h.below(h.logStart) }

// intervalMs is how long a cut may wait: with a longest compaction lag, a sixth of it at most, and twice that where a transaction straddles.
func (s *Settings) intervalMs() int64 {
	if s.MaxCompactionLagMs <= 0 {
		return s.IntervalMs
	}
	lag := max(s.MaxCompactionLagMs/6, 1)
	if s.IntervalMs <= 0 {
		return lag
	}
	return min(s.IntervalMs, lag)
}

// deltaRetentionMs is how old a frame gets before the deltas below it are trimmed; -1: as old as it likes. With a longest compaction
// lag, the two intervals until a delta's frame is cut, this age and the step that a trim may wait fit into it; not so where a shortest lag is
// more than half of it, as that holds in any case.
func (s *Settings) deltaRetentionMs() int64 {
	keepMs := s.DeltaRetentionMs
	if s.MaxCompactionLagMs > 0 && (keepMs < 0 || keepMs > s.MaxCompactionLagMs/2) {
		keepMs = s.MaxCompactionLagMs / 2
	}
	if keepMs < 0 {
		return -1
	}
	return max(keepMs, s.MinCompactionLagMs)
}

// behind tells whether the log was trimmed, and the table not yet.
func (h *holdings) behind() bool { return len(h.frames) > 0 && h.frames[0].Cut < h.deltaStart }

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

// old returns those of the frames that are of an age, and when the next one is (0: all are, or it is not known).
func old(frames []table.Frame, ageMs, nowMs int64) (_ []table.Frame, againMs int64) {
	n := sort.Search(len(frames), func(i int) bool { return frames[i].CutTimeMs+ageMs > nowMs })
	if n < len(frames) {
		againMs = frames[n].CutTimeMs + ageMs
	}
	return frames[:n], againMs
}

// trimByTime picks the newest frame that is older than the retention time.
func trimByTime(h *holdings, s *Settings, nowMs int64) (cut, againMs int64) {
	keepMs := s.deltaRetentionMs()
	if keepMs < 0 {
		return -1, 0
	}
	due, againMs := old(h.trimmable(), keepMs, nowMs)
	if len(due) == 0 {
		return -1, againMs
	}
	newest, step := due[len(due)-1], keepMs/trimStepTime
	lastMs := due[0].CutTimeMs + keepMs + step // waits no longer
	if h.deltaStart > 0 && newest.CutTimeMs < h.frames[0].CutTimeMs+step && nowMs < lastMs {
		return -1, earliest(againMs, lastMs)
	}
	return newest.Cut, againMs
}

// trimByBytes picks the oldest frame above which no more than the retention size is left, or the newest if that is not enough.
func trimByBytes(h *holdings, s *Settings, nowMs int64) (cut, againMs int64, err error) {
	keep := s.DeltaRetentionBytes
	if keep < 0 || h.deltaBytes <= keep || h.deltaBytes-keep < keep/trimStepBytes {
		return -1, 0, nil
	}
	frames, againMs := old(h.trimmable(), s.MinCompactionLagMs, nowMs)
	if len(frames) == 0 {
		return -1, againMs, nil
	}
	i := sort.Search(len(frames)-1, func(i int) bool {
		if err != nil {
			return true
		}
		var left int64
		left, err = h.bytesFrom(frames[i].Cut)
		return left <= keep
	})
	if err != nil {
		return -1, 0, fmt.Errorf("size of the raw deltas: %w", err)
	}
	return frames[i].Cut, againMs, nil
}

// below returns the newest frame at or below an offset that the delta start offset may move to; -1: there is none.
func (h *holdings) below(offset int64) (cut int64) {
	cut = -1
	for _, f := range h.trimmable() {
		if f.Cut <= offset {
			cut = f.Cut
		}
	}
	return cut
}

// innerFramesMin frames between the oldest and the newest are not thinned: of one alone, each new frame would thin the one
// before, and under steady writes none would ever grow old enough to trim to.
const innerFramesMin = 1

// thinTarget returns the cut of a frame to drop so that at most retain are left above the oldest one, or -1. The oldest
// (N1, once something was trimmed) and the newest stay. Among the others the one goes that leaves the shortest gap in
// time, so that what is left is spread out. Those that are held stay, beyond the number if need be; and the newest of those that somebody
// keeps the name of, as long as they are fewer than a third of all.
func thinTarget(frames []table.Frame, retain int, held []int64) int64 {
	retain = max(retain, innerFramesMin+1)
	if len(frames) <= retain+1 {
		return -1
	}
	best, bestGap, spared := int64(-1), int64(0), retain/3
	for i := len(frames) - 1; i > 0; i-- {
		if frames[i].Kept && spared > 0 {
			spared--
			continue
		}
		if i == len(frames)-1 || slices.Contains(held, frames[i].Cut) {
			continue
		}
		if gap := frames[i+1].CutTimeMs - frames[i-1].CutTimeMs; best < 0 || gap <= bestGap {
			best, bestGap = frames[i].Cut, gap
		}
	}
	return best
}
