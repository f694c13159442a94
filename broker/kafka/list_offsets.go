package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/storage/log"
)

// The special timestamps of ListOffsets.
const (
	latestOffset          = -1
	earliestOffset        = -2
	maxTimestampOffset    = -3
	earliestLocalOffset   = -4
	latestTieredOffset    = -5
	earliestPendingUpload = -6
)

// listOffsets finds offsets by time or position. A time may lie below the delta start offset, where rows have to be scanned:
// that is the writer's time, not the reader's. A partition that is named twice is refused, once.
func (h *Handler) listOffsets(_ context.Context, _ *wire.Request, req *kmsg.ListOffsetsRequest) wire.Response {
	return wire.Later(func(ctx context.Context) wire.Message {
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		type asked struct {
			topic     string
			partition int32
		}
		times := map[asked]int{}
		for _, rt := range req.Topics {
			for _, rp := range rt.Partitions {
				times[asked{rt.Topic, rp.Partition}]++
			}
		}
		for _, rt := range req.Topics {
			t, code := h.lookup(topicRef{name: rt.Topic})
			out := kmsg.ListOffsetsResponseTopic{Topic: rt.Topic}
			for _, rp := range rt.Partitions {
				code, a := code, asked{rt.Topic, rp.Partition}
				n, unanswered := times[a]
				if !unanswered {
					continue
				}
				if n > 1 {
					code = invalidRequest
				}
				delete(times, a)
				out.Partitions = append(out.Partitions, h.listOffset(ctx, t, code, &rp, req))
			}
			if len(out.Partitions) > 0 || len(rt.Partitions) == 0 {
				resp.Topics = append(resp.Topics, out)
			}
		}
		return resp
	})
}

func (h *Handler) listOffset(ctx context.Context, t *topics.Topic, code int16, rp *kmsg.ListOffsetsRequestTopicPartition, req *kmsg.ListOffsetsRequest) kmsg.ListOffsetsResponseTopicPartition {
	answer := kmsg.ListOffsetsResponseTopicPartition{Partition: rp.Partition, Timestamp: -1, Offset: -1, LeaderEpoch: -1}
	p, code := partitionOf(t, code, rp.Partition)
	if code == none {
		code = h.checkEpoch(rp.CurrentLeaderEpoch)
	}
	if code == none {
		code = checkSpecial(rp.Timestamp, req.Version)
	}
	if code != none {
		answer.ErrorCode = code
		return answer
	}
	b := p.Log.Bounds()
	switch rp.Timestamp {
	case latestOffset:
		answer.Offset, answer.LeaderEpoch = visibleEnd(b, req.IsolationLevel), h.cfg.LeaderEpoch
	case earliestOffset, earliestLocalOffset:
		answer.Offset, answer.LeaderEpoch = b.LogStart, p.Log.EpochAt(b.LogStart)
	case latestTieredOffset, earliestPendingUpload: // there is no tiered storage
	default:
		found, ok, err := h.offsetByTime(ctx, t, p, rp.Timestamp)
		if err != nil {
			h.cfg.Logger.Error("cannot find an offset by time", "topic", t.Name, "partition", p.Index, "timestamp", rp.Timestamp, "error", err)
			answer.ErrorCode = codeOf(err)
		} else if ok && found.offset < visibleEnd(p.Log.Bounds(), req.IsolationLevel) {
			answer.Offset, answer.Timestamp, answer.LeaderEpoch = found.offset, found.timestamp, found.epoch
		}
	}
	return answer
}

// visibleEnd is the first offset that a client may not see at its isolation level.
func visibleEnd(b log.Bounds, isolation int8) int64 {
	if isolation == 1 {
		return max(b.LastStable, b.LogStart) // DeleteRecords may have passed an open transaction's records
	}
	return b.HighWatermark
}

// checkSpecial refuses special timestamps in versions that do not have them, and numbers that mean nothing.
func checkSpecial(ts int64, version int16) int16 {
	since := map[int64]int16{latestOffset: 1, earliestOffset: 1, maxTimestampOffset: 7, earliestLocalOffset: 8, latestTieredOffset: 9, earliestPendingUpload: 11}
	if ts >= 0 {
		return none
	}
	if v, ok := since[ts]; !ok || version < v {
		return unsupportedVersion
	}
	return none
}

// recordAt is a record that a look-up by time found.
type recordAt struct {
	offset, timestamp int64
	epoch             int32
}

// offsetByTime returns the first record at or after a time, or for maxTimestampOffset the first with the largest timestamp. Rows come
// first, raw batches from N1 on. A trim in between makes rows of batches that neither look-up has seen then: it begins anew.
func (h *Handler) offsetByTime(ctx context.Context, t *topics.Topic, p *topics.Partition, ts int64) (found recordAt, ok bool, err error) {
	const attempts = 10 // each but the last was in vain because of a trim, which are seconds apart
	for range attempts {
		row, inRows, n1, err := h.rowByTime(ctx, t, p, ts)
		if err != nil || inRows && ts != maxTimestampOffset {
			return row, inRows, err
		}
		raw, inRaw, err := rawByTime(p, ts)
		switch {
		case p.Log.Bounds().DeltaStart != n1:
		case err != nil:
			return recordAt{}, false, err
		case inRows && (!inRaw || row.timestamp >= raw.timestamp):
			return row, true, nil
		default:
			return raw, inRaw, nil
		}
	}
	return recordAt{}, false, fmt.Errorf("look-up by time: the delta start offset does not stand still: %w", log.ErrTrimmed)
}

func rawByTime(p *topics.Partition, ts int64) (found recordAt, ok bool, err error) {
	if ts == maxTimestampOffset {
		found.offset, found.timestamp, found.epoch, ok, err = p.Log.MaxTimestamp()
	} else {
		found.offset, found.timestamp, found.epoch, ok, err = p.Log.OffsetForTimestamp(ts)
	}
	return found, ok, err
}

// rowByTime looks for the first row at or after a time, or the first with the largest timestamp, and returns the N1 that the rows end at.
func (h *Handler) rowByTime(ctx context.Context, t *topics.Topic, p *topics.Partition, ts int64) (found recordAt, ok bool, n1 int64, err error) {
	b := p.Log.Bounds()
	if h.cfg.Rows == nil || b.LogStart >= b.DeltaStart {
		return found, false, b.DeltaStart, nil
	}
	n1, err = h.cfg.Rows.EachRow(ctx, t, p, b.LogStart, func(offset, timestamp int64) (more bool) {
		if timestamp >= ts && (!ok || timestamp > found.timestamp) {
			found, ok = recordAt{offset: offset, timestamp: timestamp}, true
		}
		return !ok || ts == maxTimestampOffset
	})
	if err != nil {
		return recordAt{}, false, 0, err
	}
	if ok {
		found.epoch = p.Log.EpochAt(found.offset)
	}
	return found, ok, n1, nil
}
