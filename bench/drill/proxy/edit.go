package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/proto/batch"
)

// recordsBytesMax bounds what the records of one batch decompress to.
const recordsBytesMax = 256 << 20

// breaksFetches tells whether answers to fetches have to be looked at.
func (p *Proxy) breaksFetches() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.faults, func(f *Fault) bool { return f.fetched != nil })
}

// fetched lets the faults happen to an answer.
func (p *Proxy) fetched(resp *kmsg.FetchResponse) (changed bool, err error) {
	p.mu.Lock()
	faults := slices.Clone(p.faults)
	p.mu.Unlock()
	for i := range resp.Topics {
		t := &resp.Topics[i]
		topic := p.topic(t.Topic, t.TopicID)
		for j := range t.Partitions {
			for _, f := range faults {
				if f.fetched == nil || f.topic != topic || f.partition != t.Partitions[j].Partition {
					continue
				}
				hit, err := f.fetched(&t.Partitions[j])
				if err != nil {
					return changed, fmt.Errorf("%w: fetched of %s/%d: %w", errFrame, topic, f.partition, err)
				}
				if hit {
					changed = true
					f.happened()
				}
			}
		}
	}
	return changed, nil
}

// produce looks at a produce request. silent: it asks for no answer.
func (p *Proxy) produce(req *expected, body []byte) (swallowed, silent bool, err error) {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(req.version)
	if err := r.ReadFrom(body); err != nil {
		return false, false, fmt.Errorf("%w: produce request: %w", errFrame, err)
	}
	silent = r.Acks == 0
	f := p.swallower(r)
	if f == nil {
		return false, silent, nil
	}
	resp := r.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range r.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, part := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.BaseOffset = part.Partition, f.base
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	req.answer = encode(req.correlation, resp)
	f.happened()
	return true, silent, nil
}

// swallower takes the fault that a produce request falls to out of the list; nil: none.
func (p *Proxy) swallower(r *kmsg.ProduceRequest) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.faults, func(f *Fault) bool {
		return f.swallow && slices.ContainsFunc(r.Topics, func(t kmsg.ProduceRequestTopic) bool {
			return (t.Topic == f.topic || p.topics[t.TopicID] == f.topic) &&
				slices.ContainsFunc(t.Partitions, func(x kmsg.ProduceRequestTopicPartition) bool { return x.Partition == f.partition })
		})
	})
	if i < 0 {
		return nil
	}
	f := p.faults[i]
	p.faults = slices.Delete(p.faults, i, i+1)
	return f
}

// editBatches replaces the batches of a partition by what edit makes of each; nil leaves one out.
func editBatches(p *kmsg.FetchResponseTopicPartition, edit func(batch.Batch) (batch.Batch, bool, error)) (hit bool, err error) {
	out := make([]byte, 0, len(p.RecordBatches))
	for rest := p.RecordBatches; len(rest) > 0; {
		b, behind, err := batch.Split(rest)
		if errors.Is(err, batch.ErrTruncated) { // what did not fit in
			out = append(out, rest...)
			break
		}
		if err != nil {
			return hit, err
		}
		b, edited, err := edit(b)
		if err != nil {
			return hit, err
		}
		hit, out, rest = hit || edited, append(out, b...), behind
	}
	if hit {
		p.RecordBatches = out
	}
	return hit, nil
}

// rebuild encodes a batch with the records that pick returns true for, as pick has left them. It is the same batch where that changes nothing.
func rebuild(b batch.Batch, pick func(*batch.Record) bool) (_ batch.Batch, changed bool, err error) {
	r := batch.NewReader(recordsBytesMax)
	if err := r.Reset(b); err != nil {
		return nil, false, err
	}
	w := batch.NewBuilder(batch.Options{
		Codec: b.Codec(), BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), Transactional: b.IsTransactional(),
	})
	for record, err := range r.All() {
		if err != nil {
			return nil, false, err
		}
		before := record.Value
		if !pick(&record) {
			changed = true
			continue
		}
		changed = changed || !bytes.Equal(before, record.Value)
		if err := w.Append(record); err != nil {
			return nil, false, err
		}
	}
	if !changed {
		return b, false, nil
	}
	if err := w.SetLastOffset(b.LastOffset()); err != nil {
		return nil, false, err
	}
	out, err := w.Finish()
	if err == nil && b.IsLogAppendTime() {
		out.StampAppendTime(b.MaxTimestamp())
	}
	return out, true, err
}
