package state

import (
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/broker/keyframer"
	api "github.com/keyframelog/keyframe/proto/state"
)

// unstable is what keeps a partition's last stable offset where it is, as of one moment: the state above it is not known before that is over.
type unstable struct {
	p       *keyframer.Partition
	offset  int64  // that is asked for, above lastStable
	stable  int64  // the last stable offset
	sinceMs int64  // when the first record above it was appended; -1: not known
	why     string // what it is; empty where nothing was appended there
	until   string // when it is over
}

// above says what an offset waits for that lies above the last stable one; ok is false where the state at it is defined.
func above(p *keyframer.Partition, offset int64) (u unstable, ok bool) {
	open := p.Log().OpenTxns() // before the bounds: what holds them up now was open then, if the offset was there
	b := p.Bounds()
	if offset <= b.LastStable {
		return u, false
	}
	u = unstable{p: p, offset: offset, stable: b.LastStable, sinceMs: -1}
	if b.LogEnd <= b.LastStable {
		return u, true
	}
	if ms, err := p.Log().AppendTimeAt(b.LastStable); err == nil {
		u.sinceMs = ms
	}
	u.why, u.until = fmt.Sprintf("what was appended from offset %d on is on its way to the disk", b.LastStable), "when it is there"
	for _, t := range open {
		if t.FirstOffset == b.LastStable {
			u.why, u.until = fmt.Sprintf("a transaction of producer id %d has been open since offset %d", t.ProducerID, b.LastStable), "when it has ended"
			if u.sinceMs >= 0 {
				u.why += ", " + timeText(u.sinceMs)
			}
		}
	}
	return u, true
}

// refuseOffset is the error of who asked for the offset.
func (sel selection) refuseOffset(u unstable) error {
	why := ""
	if u.why != "" {
		why = u.why + "; "
	}
	return refuseAt(api.Reason_REASON_ABOVE_LAST_STABLE, sel.topic, u.p, u.offset,
		"offset %d of partition %d is above the last stable offset %d; %s%s", u.offset, u.p.Index, u.stable, why, sel.readable(u.p))
}

// refuseTime is the error of who asked for a time that means the offset.
func (sel selection) refuseTime(ms int64, u unstable) error {
	known := fmt.Sprintf("now it is known up to offset %d", u.stable)
	if u.sinceMs >= 0 {
		known = fmt.Sprintf("now it is known up to the time %s, offset %d", timeText(u.sinceMs-1), u.stable)
	}
	return refuseAt(api.Reason_REASON_ABOVE_LAST_STABLE, sel.topic, u.p, u.offset,
		"%s: the state at the time %s, offset %d of partition %d, is known %s; %s", u.why, timeText(ms), u.offset, u.p.Index, u.until, known)
}

func timeText(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }
