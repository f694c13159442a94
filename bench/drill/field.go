package drill

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

const (
	// batchBytes is about how much is sent in one record batch.
	batchBytes = 256 << 10
	// batchesBetween is how many batches of deltas there are at least between a fault and the next key frame.
	batchesBetween = 10
)

// field is one topic: its producer, the state that was produced, a replica that is drilled and one that is not.
type field struct {
	s        *stage
	cfg      *Config
	topic    string
	kind     fold.Kind
	random   *rand.Rand
	producer *client.Producer
	state    map[string]string
	next     int // key to be changed next

	drilled   *subject // its tail comes through the proxy
	untouched *subject
	beside    []*subject // untouched as well
	others    []*subject // that came for a fault, and stayed
}

// openField creates a topic, fills it, and opens its replicas.
func openField(ctx context.Context, s *stage, cfg *Config, topic string, kind fold.Kind) (_ *field, err error) {
	f := &field{
		s: s, cfg: cfg, topic: topic, kind: kind, random: rand.New(rand.NewChaCha8([32]byte{byte(kind)})),
		state: make(map[string]string, cfg.Keys),
	}
	if err := s.createTopic(ctx, topic, kind.String()); err != nil {
		return nil, err
	}
	if f.producer, err = f.newProducer(ctx, s.kafkaAddr()); err != nil {
		return nil, err
	}
	s.opened(func() error { f.producer.Close(); return nil })
	if _, err := f.produce(ctx, cfg.Keys); err != nil {
		return nil, err
	}
	if _, err := s.cut(ctx, topic); err != nil {
		return nil, err
	}
	f.drilled, f.untouched = f.subject(s.proxy.Addr(), client.Memory()), f.subject(s.kafkaAddr(), client.Memory())
	for range cfg.Replicas - 2 {
		f.beside = append(f.beside, f.subject(s.kafkaAddr(), client.Memory()))
	}
	for _, x := range append([]*subject{f.drilled, f.untouched}, f.beside...) {
		if err := x.open(ctx); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// newProducer makes a producer that sends what it is flushed with as one batch.
func (f *field) newProducer(ctx context.Context, addr string, more ...kgo.Opt) (*client.Producer, error) {
	return client.NewProducer(ctx, client.ProducerConfig{
		Brokers: []string{addr}, Topic: f.topic, Fold: f.kind, Options: append([]kgo.Opt{kgo.ManualFlushing(), kgo.MaxBufferedRecords(1 << 20)}, more...),
	})
}

// subject is a replica of the topic that is not open yet.
func (f *field) subject(addr string, store client.Store) *subject {
	x := newSubject(client.Config{
		Brokers: []string{addr}, StateURL: f.s.stateURL(), Topic: f.topic, Store: store, OnDrift: f.cfg.OnDrift, ScrubRate: -1,
	})
	f.s.opened(x.close)
	return x
}

// sent is a batch as it was produced: a record has the offset of its place behind first.
type sent struct {
	first int64
	keys  []string
}

// perBatch is how many deltas go into one batch of many.
func (f *field) perBatch() int {
	return max(batchBytes/(16+f.cfg.ValueBytes), 1)
}

// produce changes the next n keys, each once, in as many batches as it takes.
func (f *field) produce(ctx context.Context, n int) (batches []sent, err error) {
	for n > 0 {
		size := min(n, f.perBatch())
		b, err := f.produceBatch(ctx, size)
		if err != nil {
			return nil, err
		}
		batches, n = append(batches, b), n-size
	}
	return batches, nil
}

// between are the sizes of the batches of deltas that follow a fault up to the key frame.
func (f *field) between() []int {
	size := min(max(f.cfg.Deltas/batchesBetween, 3), f.perBatch())
	return slices.Repeat([]int{size}, (f.cfg.Deltas+size-1)/size)
}

func (f *field) produceBatch(ctx context.Context, n int) (b sent, err error) {
	records := make([]*kgo.Record, n)
	for i := range records {
		key := f.nextKey()
		records[i] = f.change(key)
		b.keys = append(b.keys, key)
	}
	b.first, err = f.send(ctx, f.producer, records)
	return b, err
}

func (f *field) nextKey() string {
	key := fmt.Sprintf("key-%012d", f.next)
	f.next = (f.next + 1) % f.cfg.Keys
	return key
}

// change makes the delta that gives a key another value, and notes the value.
func (f *field) change(key string) *kgo.Record {
	if f.kind == fold.Counter {
		n := 1 + f.random.Int64N(1000)
		f.add(key, n)
		return f.producer.Add([]byte(key), n)
	}
	value := make([]byte, f.cfg.ValueBytes)
	for i := range value {
		value[i] = byte(f.random.Uint32())
	}
	f.state[key] = string(value)
	return f.producer.Put([]byte(key), value)
}

// add notes that a counter was added to.
func (f *field) add(key string, n int64) {
	now, _ := strconv.ParseInt(f.state[key], 10, 64)
	f.state[key] = strconv.FormatInt(now+n, 10)
}

// delete makes the delta that deletes a key, and notes it.
func (f *field) delete(key string) *kgo.Record {
	delete(f.state, key)
	return f.producer.Delete([]byte(key))
}

// send produces records as one batch, and returns the offset of the first.
func (f *field) send(ctx context.Context, p *client.Producer, records []*kgo.Record) (first int64, err error) {
	failed := make(chan error, 1)
	for _, r := range records {
		p.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default: // the first one is enough
				}
			}
		})
	}
	if err = p.Flush(ctx); err == nil { // else some may still be on their way
		select {
		case err = <-failed:
		default:
		}
	}
	if err != nil {
		return 0, fmt.Errorf("produce to %s: %w", f.topic, err)
	}
	last := records[len(records)-1].Offset
	if first = records[0].Offset; last-first != int64(len(records)-1) {
		return 0, fmt.Errorf("produce to %s: %d records have offsets %d to %d", f.topic, len(records), first, last)
	}
	return first, nil
}

// digest is that of the state as it was produced.
func (f *field) digest() (d digest.Digest) {
	var h digest.Hasher
	for key, value := range f.state {
		d.Add(h.Entry([]byte(key), []byte(value)))
	}
	return d
}

// settle cuts a last key frame and compares all copies there.
func (f *field) settle(ctx context.Context) (end End, err error) {
	told := append([]*subject{f.untouched}, f.beside...) // the truth
	subjects := append(append(slices.Clone(told), f.drilled), f.others...)
	marks := make([]int, len(subjects))
	for i, x := range subjects {
		marks[i] = x.mark()
	}
	if _, err := f.produceBatch(ctx, f.between()[0]); err != nil {
		return end, err
	}
	frame, err := f.s.cut(ctx, f.topic)
	if err != nil {
		return end, err
	}
	end = End{Topic: f.topic, Cut: frame.Cut, Replicas: len(subjects), Log: frameDigest(frame)}
	if d := f.digest(); d != end.Log {
		end.Wrong = append(end.Wrong, fmt.Sprintf("what was produced is %d rows, digest %s", d.Count, hexSum(d)))
	}
	for i, x := range subjects {
		v, _, err := x.awaitVerdict(ctx, marks[i], frame.Cut)
		if err != nil {
			return end, err
		}
		if wrong := x.matches(end.Log); v.verdict.Outcome != client.Equal || wrong != "" {
			end.Wrong = append(end.Wrong, fmt.Sprintf("a replica is %s: %s", v.verdict.Outcome, wrong))
		}
	}
	for _, x := range told {
		if v := x.falseAlarm(); v != nil {
			end.Wrong = append(end.Wrong, fmt.Sprintf("a replica that was told the truth was %s at %d: %s", v.Outcome, v.At, v.Reason))
		}
	}
	return end, nil
}

func frameDigest(f *state.Frame) digest.Digest {
	var sum [32]byte
	copy(sum[:], f.Sum)
	return digest.Digest{Sum: digest.SumFromBytes(sum), Count: f.Count}
}

func hexSum(d digest.Digest) string {
	sum := d.Sum.Bytes()
	return hex.EncodeToString(sum[:])
}
