package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/proto/batch"
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
// that is the writer's time, not the reader's.
func (h *Handler) listOffsets(_ context.Context, _ *wire.Request, req *kmsg.ListOffsetsRequest) wire.Response {
	return wire.Later(func(ctx context.Context) wire.Message {
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		type asked struct {
			topic     string
			partition int32
		}
		seen := map[asked]bool{}
		for _, rt := range req.Topics {
			t, code := h.lookup(topicRef{name: rt.Topic})
			out := kmsg.ListOffsetsResponseTopic{Topic: rt.Topic}
			for _, rp := range rt.Partitions {
				code := code
				if a := (asked{rt.Topic, rp.Partition}); seen[a] {
					code = invalidRequest
				} else {
					seen[a] = true
				}
				out.Partitions = append(out.Partitions, h.listOffset(ctx, t, code, &rp, req))
			}
			resp.Topics = append(resp.Topics, out)
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
		answer.Offset, answer.LeaderEpoch = b.HighWatermark, h.cfg.LeaderEpoch
		if req.IsolationLevel == 1 {
			answer.Offset = b.LastStable
		}
	case earliestOffset, earliestLocalOffset:
		answer.Offset, answer.LeaderEpoch = b.LogStart, p.Log.EpochAt(b.LogStart)
	case latestTieredOffset, earliestPendingUpload: // there is no tiered storage
	default:
		offset, ts, epoch, ok, err := h.offsetByTime(ctx, t, p, rp.Timestamp)
		if err != nil {
			h.cfg.Logger.Error("cannot find an offset by time", "topic", t.Name, "partition", p.Index, "timestamp", rp.Timestamp, "error", err)
			answer.ErrorCode = codeOf(err)
		} else if ok {
			answer.Offset, answer.Timestamp, answer.LeaderEpoch = offset, ts, epoch
		}
	}
	return answer
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

// offsetByTime returns the first record at or after a time, or for maxTimestampOffset the record with the largest timestamp.
// Rows below the delta start offset come first.
func (h *Handler) offsetByTime(ctx context.Context, t *topics.Topic, p *topics.Partition, ts int64) (offset, recordTs int64, epoch int32, ok bool, err error) {
	rowOffset, rowTs, rowFound, err := h.rowByTime(ctx, t, p, ts)
	if err != nil {
		return 0, 0, 0, false, err
	}
	if rowFound && ts != maxTimestampOffset {
		return rowOffset, rowTs, p.Log.EpochAt(rowOffset), true, nil
	}
	if ts == maxTimestampOffset {
		offset, recordTs, epoch, ok, err = p.Log.MaxTimestamp()
	} else {
		offset, recordTs, epoch, ok, err = p.Log.OffsetForTimestamp(ts)
	}
	if err == nil && rowFound && (!ok || rowTs >= recordTs) {
		return rowOffset, rowTs, p.Log.EpochAt(rowOffset), true, nil
	}
	return offset, recordTs, epoch, ok, err
}

// rowByTime looks for the first row at or after a time, or the row with the largest timestamp.
func (h *Handler) rowByTime(ctx context.Context, t *topics.Topic, p *topics.Partition, ts int64) (offset, rowTs int64, found bool, err error) {
	b := p.Log.Bounds()
	if h.cfg.Rows == nil || b.LogStart >= b.DeltaStart {
		return 0, 0, false, nil
	}
	const pieceBytes = 1 << 20
	reader := batch.NewReader(h.cfg.MaxDecompressedBytes) // rows are not compressed; a long scan must not hold up producers
	var buf []byte
	for from := b.LogStart; from < b.DeltaStart && ctx.Err() == nil; {
		if buf, from, err = h.cfg.Rows.Rows(ctx, t, p, from, pieceBytes, buf[:0]); err != nil {
			return 0, 0, false, err
		}
		for rest := buf; len(rest) > 0; {
			var rows batch.Batch
			if rows, rest, err = batch.Split(rest); err != nil {
				return 0, 0, false, err
			}
			least := ts
			if ts == maxTimestampOffset && found {
				least = rowTs + 1
			}
			if rows.MaxTimestamp() < least {
				continue
			}
			o, when, ok, err := firstAtOrAfter(reader, rows, least, ts == maxTimestampOffset)
			if err != nil {
				return 0, 0, false, err
			}
			if ok {
				offset, rowTs, found = o, when, true
				if ts != maxTimestampOffset {
					return offset, rowTs, true, nil
				}
			}
		}
	}
	return offset, rowTs, found, ctx.Err()
}

// firstAtOrAfter returns a batch's first record at or after a time, or with largest the first of the largest timestamp.
func firstAtOrAfter(reader *batch.Reader, b batch.Batch, ts int64, largest bool) (offset, recordTs int64, ok bool, err error) {
	if err := reader.Reset(b); err != nil {
		return 0, 0, false, err
	}
	for {
		r, more, err := reader.Next()
		if err != nil || !more {
			return offset, recordTs, ok, err
		}
		if r.Timestamp >= ts && (!ok || r.Timestamp > recordTs) {
			offset, recordTs, ok = r.Offset, r.Timestamp, true
			if !largest {
				return offset, recordTs, true, nil
			}
		}
	}
}
