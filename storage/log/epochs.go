package log

import "slices"

// epochs are the leader epochs in which something was written, with their first offsets, both rising (KIP-101).
type epochs []epochStart

type epochStart struct {
	epoch int32
	start int64
}

func (es epochs) last() int32 {
	if len(es) == 0 {
		return -1
	}
	return es[len(es)-1].epoch
}

func (es *epochs) add(epoch int32, start int64) { *es = append(*es, epochStart{epoch, start}) }

// at returns the epoch of a written offset, -1 when unknown.
func (es epochs) at(offset int64) int32 {
	i, found := slices.BinarySearchFunc(es, offset, func(e epochStart, o int64) int { return int(min(1, max(-1, e.start-o))) })
	if !found {
		i--
	}
	if i < 0 {
		return -1
	}
	return es[i].epoch
}

// end returns the largest epoch at or below the one asked for, and where it ends. current is the epoch of this run, which
// starts at the log end as long as nothing was written in it.
func (es epochs) end(epoch, current int32, logEnd int64) (found int32, endOffset int64) {
	switch {
	case epoch < 0 || epoch > current:
		return -1, -1
	case epoch == current:
		return current, logEnd
	}
	next := len(es) // index of the first epoch above the one asked for
	for i, e := range es {
		if e.epoch > epoch {
			next = i
			break
		}
	}
	endOffset = logEnd
	if next < len(es) {
		endOffset = min(logEnd, es[next].start)
	}
	if next == 0 { // older than everything known: it ends where the known ones begin
		return epoch, endOffset
	}
	return es[next-1].epoch, endOffset
}
