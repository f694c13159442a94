package kafka

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/batch"
)

// culpritsMax bounds the records that one refusal names; a batch may hold millions.
const culpritsMax = 1000

// recordsError refuses a batch because of some of its records (KIP-467).
type recordsError struct {
	code     int16
	total    int
	culprits []kmsg.ProduceResponseTopicPartitionErrorRecord
}

func (e *recordsError) Error() string {
	return fmt.Sprintf("One or more records have been rejected due to %d record errors in total, of which the first %d are listed.", e.total, len(e.culprits))
}

func (e *recordsError) add(code int16, index int, text string) {
	if e.total == 0 || code == invalidTimestamp {
		e.code = code
	}
	e.total++
	if len(e.culprits) < culpritsMax {
		e.culprits = append(e.culprits, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: int32(index), ErrorMessage: &text})
	}
}

// checkBatch decides whether a client's batch may be appended, and returns it as it is to be stored: itself, or, in another codec, a
// copy. After it, everything that anyone will read from the batch was read once: a batch that cannot be decompressed or parsed never
// gets an offset.
func (h *Handler) checkBatch(cfg *topics.Config, b batch.Batch) (batch.Batch, error) {
	if err := b.Validate(); err != nil {
		if errors.Is(err, batch.ErrCRC) {
			return nil, &refusal{corruptMessage, err.Error()}
		}
		return nil, &refusal{invalidRecord, err.Error()}
	}
	switch {
	case b.IsControl():
		return nil, &refusal{invalidRecord, "Clients are not allowed to write control records"}
	case b.BaseOffset() != 0:
		return nil, &refusal{invalidRecord, fmt.Sprintf("The baseOffset of the record batch should be 0, but it is %d", b.BaseOffset())}
	case b.ProducerID() >= 0 && (b.BaseSequence() < 0 || b.ProducerEpoch() < 0):
		return nil, &refusal{invalidRecord, fmt.Sprintf("Invalid sequence number %d or epoch %d in record batch with producerId %d", b.BaseSequence(), b.ProducerEpoch(), b.ProducerID())}
	}
	return h.checkRecords(cfg, b)
}

// checkRecords reads every record once: structure, timestamp, key, and in a key-framed topic the delta. It mends the header's
// maximum timestamp; with message.timestamp.type=LogAppendTime the log writes another. What it returns is in the topic's codec.
func (h *Handler) checkRecords(cfg *topics.Config, b batch.Batch) (batch.Batch, error) {
	reader, done := h.reader()
	defer done()
	limit := min(cfg.MaxDecompressedBytes, h.cfg.MaxDecompressedBytes)
	reader.SetLimit(limit)
	codec, level, ok := cfg.Compression.Codec()
	check := recordCheck{cfg: cfg, nowMs: h.nowMs(), anew: ok && codec != b.Codec(), appendTime: b.IsLogAppendTime(), told: b.MaxTimestamp()}
	if check.appendTime {
		b.StampCreateTime(check.told) // the topic decides that, not the producer
	}
	if err := reader.Reset(b); err != nil {
		return nil, &refusal{unreadable(err), err.Error()}
	}
	maxTimestamp, err := check.each(reader)
	if err != nil {
		return nil, err
	}
	if !cfg.LogAppendTime && maxTimestamp != b.MaxTimestamp() {
		b.StampCreateTime(maxTimestamp)
	}
	if !check.anew {
		return b, nil
	}
	if size := len(reader.Records()); codec != batch.None && size > limit { // it came uncompressed: nobody could read it again
		return nil, &refusal{messageTooLarge, fmt.Sprintf("record batch of %d bytes, which compression.type=%s would make decompress to more than the limit of %d bytes",
			size, cfg.Compression.Type, limit)}
	}
	if check.appendTime {
		if b, err = withOneTime(b, reader, check.told); err != nil {
			return nil, err
		}
		return b.Recompress(codec, level, b[batch.HeaderSize:])
	}
	return b.Recompress(codec, level, reader.Records())
}

// withOneTime returns the batch, without compression, with one time for all of its records. So Kafka writes records anew whose producer
// said LogAppendTime: that their time is the batch's largest. Where it keeps them as they came it takes back only what was said.
func withOneTime(b batch.Batch, reader *batch.Reader, timestampMs int64) (batch.Batch, error) {
	if err := reader.Reset(b); err != nil {
		return nil, err
	}
	builder := batch.NewBuilder(batch.Options{LeaderEpoch: b.LeaderEpoch(), ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(),
		BaseSequence: b.BaseSequence(), Transactional: b.IsTransactional()})
	for r, err := range reader.All() {
		if err != nil {
			return nil, err
		}
		r.Timestamp = timestampMs
		if err := builder.Append(r); err != nil {
			return nil, err
		}
	}
	return builder.Finish()
}

// recordCheck is what a batch's records are held against.
type recordCheck struct {
	cfg   *topics.Config
	nowMs int64
	anew  bool // the records are written anew, in another codec
	// The producer said LogAppendTime, and so told one time for all records.
	appendTime bool
	told       int64
}

// each reads the records and returns the highest timestamp.
func (c *recordCheck) each(reader *batch.Reader) (maxTimestamp int64, err error) {
	var refused recordsError
	maxTimestamp = -1
	for index := 0; ; index++ {
		r, more, err := reader.Next()
		if err != nil {
			return 0, &refusal{unreadable(err), err.Error()}
		}
		if !more {
			break
		}
		if r.Offset != int64(index) {
			return 0, &refusal{invalidRecord, fmt.Sprintf("record %d of the batch has offset delta %d", index, r.Offset)}
		}
		maxTimestamp = max(maxTimestamp, r.Timestamp)
		if text := c.timestampError(r.Timestamp); text != "" {
			refused.add(invalidTimestamp, index, text)
			continue
		}
		if !c.cfg.KeyFramed {
			continue
		}
		if r.Key == nil {
			refused.add(invalidRecord, index, "Compacted topic cannot accept message without key in topic partition.")
			continue
		}
		if _, err := c.cfg.Fold.Delta(r.Key, r.Value, r.Headers); err != nil {
			refused.add(invalidRecord, index, err.Error())
		}
	}
	if refused.total > 0 {
		return 0, &refused
	}
	return maxTimestamp, nil
}

// timestampError says what is wrong with a record's time, or nothing. Both count that readers could be shown: the one that was told for all
// records, and, unless that is written into them, their own.
func (c *recordCheck) timestampError(ts int64) string {
	if !c.appendTime {
		return c.outside(ts)
	}
	if c.cfg.LogAppendTime || c.told == -1 {
		return "The producer must not set the timestamp type to LogAppendTime."
	}
	if text := c.outside(c.told); text != "" || c.anew {
		return text
	}
	return c.outside(ts)
}

// outside says how a time is outside of the topic's limits, or nothing.
func (c *recordCheck) outside(ts int64) string {
	if c.cfg.LogAppendTime || ts < 0 {
		return ""
	}
	if ts > c.nowMs && ts-c.nowMs > c.cfg.TimestampAfterMs {
		return fmt.Sprintf("Timestamp %d of message is more than %d ms after the broker's time %d (message.timestamp.after.max.ms)", ts, c.cfg.TimestampAfterMs, c.nowMs)
	}
	if ts < c.nowMs && c.nowMs-ts > c.cfg.TimestampBeforeMs {
		return fmt.Sprintf("Timestamp %d of message is more than %d ms before the broker's time %d (message.timestamp.before.max.ms)", ts, c.cfg.TimestampBeforeMs, c.nowMs)
	}
	return ""
}

// unreadable is the code of records that cannot be read.
func unreadable(err error) int16 {
	if errors.Is(err, batch.ErrTooLarge) {
		return messageTooLarge // it would decompress to more than the broker allows
	}
	return invalidRecord
}
