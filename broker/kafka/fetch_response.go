package kafka

import (
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/storage/log"
)

// records are those of one partition's answer: rows, and the raw batches behind them.
type records struct {
	rows   []byte
	buffer *[]byte  // that the rows are in
	run    *log.Run // nil: none
	failed func(error)
}

func (r *records) len() int {
	if r.run == nil {
		return len(r.rows)
	}
	return len(r.rows) + r.run.Len()
}

// held is how much memory they take until they are sent.
func (r *records) held() int {
	if r.run == nil {
		return len(r.rows)
	}
	return len(r.rows) + r.run.Held()
}

// sentRun is a run on its way to a client. Damage that is met there, after the client was told how much it gets, ends the connection; when the client comes
// again, it gets what is before it, and then the error.
type sentRun struct {
	*log.Run
	failed func(error)
}

// Each implements wire.Body.
func (r sentRun) Each(visit func(pieces [][]byte) error) error {
	var sending error
	err := r.Run.Each(func(pieces [][]byte) error {
		sending = visit(pieces)
		return sending
	})
	if err != nil && sending == nil {
		r.failed(err)
	}
	return err
}

// fetchResponse is a wire.Spliced message: the records, which the kmsg one does not have, are read as they are sent.
type fetchResponse struct {
	*kmsg.FetchResponse
	records []records // of each partition, in the response's order
	bytes   int       // of all of them
}

// Parts implements wire.Spliced.
func (r *fetchResponse) Parts() []wire.Part {
	e := fetchEncoder{version: r.Version, flexible: r.IsFlexible()}
	e.head(r.FetchResponse)
	next := 0
	for i := range r.Topics {
		t := &r.Topics[i]
		e.topic(t)
		for j := range t.Partitions {
			e.partition(&t.Partitions[j], &r.records[next])
			next++
		}
		e.tags(0)
	}
	e.tags(0)
	return append(e.parts, wire.Part{Head: e.b})
}

// fetchEncoder encodes what kmsg does, but for the records, in the middle of which it would copy them.
type fetchEncoder struct {
	version  int16
	flexible bool
	parts    []wire.Part
	b        []byte // of the next part
}

func (e *fetchEncoder) head(r *kmsg.FetchResponse) {
	if e.version >= 1 {
		e.b = kbin.AppendInt32(e.b, r.ThrottleMillis)
	}
	if e.version >= 7 {
		e.b = kbin.AppendInt16(e.b, r.ErrorCode)
		e.b = kbin.AppendInt32(e.b, r.SessionID)
	}
	e.array(len(r.Topics), false)
}

func (e *fetchEncoder) topic(t *kmsg.FetchResponseTopic) {
	switch {
	case e.version >= 13:
		e.b = kbin.AppendUuid(e.b, t.TopicID)
	case e.flexible:
		e.b = kbin.AppendCompactString(e.b, t.Topic)
	default:
		e.b = kbin.AppendString(e.b, t.Topic)
	}
	e.array(len(t.Partitions), false)
}

func (e *fetchEncoder) partition(p *kmsg.FetchResponseTopicPartition, r *records) {
	e.b = kbin.AppendInt32(e.b, p.Partition)
	e.b = kbin.AppendInt16(e.b, p.ErrorCode)
	e.b = kbin.AppendInt64(e.b, p.HighWatermark)
	if e.version >= 4 {
		e.b = kbin.AppendInt64(e.b, p.LastStableOffset)
	}
	if e.version >= 5 {
		e.b = kbin.AppendInt64(e.b, p.LogStartOffset)
	}
	if e.version >= 4 {
		e.array(len(p.AbortedTransactions), p.AbortedTransactions == nil)
		for _, a := range p.AbortedTransactions {
			e.b = kbin.AppendInt64(e.b, a.ProducerID)
			e.b = kbin.AppendInt64(e.b, a.FirstOffset)
			e.tags(0)
		}
	}
	if e.version >= 11 {
		e.b = kbin.AppendInt32(e.b, p.PreferredReadReplica)
	}
	if e.flexible {
		e.b = kbin.AppendUvarint(e.b, uint32(r.len()+1))
	} else {
		e.b = kbin.AppendInt32(e.b, int32(r.len()))
	}
	e.splice(r)
	e.diverging(p)
}

// splice puts the records in.
func (e *fetchEncoder) splice(r *records) {
	if len(r.rows) > 0 {
		e.parts = append(e.parts, wire.Part{Head: e.b}, wire.Part{Head: r.rows})
		e.b = nil
	}
	if r.run != nil {
		e.parts = append(e.parts, wire.Part{Head: e.b, Body: sentRun{r.run, r.failed}})
		e.b = nil
	}
}

// diverging is the one tag that a partition may have.
func (e *fetchEncoder) diverging(p *kmsg.FetchResponseTopicPartition) {
	if d := p.DivergingEpoch; d.Epoch < 0 && d.EndOffset < 0 {
		e.tags(0)
		return
	} else if e.flexible {
		const tag, length = 0, 4 + 8 + 1
		e.tags(1)
		e.b = kbin.AppendUvarint(e.b, tag)
		e.b = kbin.AppendUvarint(e.b, length)
		e.b = kbin.AppendInt32(e.b, d.Epoch)
		e.b = kbin.AppendInt64(e.b, d.EndOffset)
		e.tags(0)
	}
}

func (e *fetchEncoder) array(n int, isNil bool) {
	if e.flexible {
		e.b = kbin.AppendCompactNullableArrayLen(e.b, n, isNil)
	} else {
		e.b = kbin.AppendNullableArrayLen(e.b, n, isNil)
	}
}

func (e *fetchEncoder) tags(n uint32) {
	if e.flexible {
		e.b = kbin.AppendUvarint(e.b, n)
	}
}
