package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
)

var (
	errOutOfRange   = errors.New("the position is not in the log")
	errDiverged     = fmt.Errorf("%w: the log took another way", errOutOfRange)
	errTopicReplace = errors.New("the topic was created anew")
)

// segment is a run of records of one partition and one leader epoch, control records left out: first is the offset of the first
// record or marker, next lies behind the last. An err of errOutOfRange or errTopicReplace ends the partition's reading until it is
// assigned again.
type segment struct {
	partition   int32
	records     []batch.Record
	first, next int64
	gaps        bool // between first and next there are offsets without a record or marker
	epoch       int32
	err         error
}

// tail reads the log from given offsets. Poll is called by one goroutine; the rest may be called beside it.
type tail interface {
	describe(ctx context.Context) (topicInfo, error)
	// inTransaction tells whether an offset lies in a batch of a transaction, as it was written: no row of the log has that.
	inTransaction(ctx context.Context, partition int32, offset int64) (bool, error)
	// assign begins to read at offset. epoch is the leader epoch of what lies before it; -1: not known.
	assign(partition int32, offset int64, epoch int32)
	remove(partition int32)
	// poll returns what has come, also where ctx has ended or there is an error: it does not come again.
	poll(ctx context.Context) ([]segment, error)
	close()
}

// topicInfo is what the data plane says about a topic.
type topicInfo struct {
	id         [16]byte
	partitions []int32
	fold       fold.Kind
	starts     map[int32]int64 // log start offsets
	ends       map[int32]int64 // last stable offsets
}

// fetchWait is how long a fetch waits at the log's end.
const fetchWait = 250 * time.Millisecond

// kafkaTail is the tail on franz-go: assigned partitions, committed records only, never an offset reset.
type kafkaTail struct {
	cl       *kgo.Client
	fetch    func(context.Context) kgo.Fetches // cl's PollFetches
	topic    string
	split    bool // segments end where offsets are missing
	assigned map[int32]bool
}

func newKafkaTail(cfg *Config) (*kafkaTail, error) {
	// A partition that is assigned while a fetch waits at the end of others is read only after that fetch.
	opts := []kgo.Opt{kgo.FetchMinBytes(1), kgo.FetchMaxWait(fetchWait)}
	if len(cfg.Brokers) > 0 {
		opts = append(opts, kgo.SeedBrokers(cfg.Brokers...))
	}
	opts = append(opts, cfg.KafkaOptions...)
	// Not for the caller to choose: correctness rests on these.
	opts = append(opts,
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.KeepRetryableFetchErrors(),
	)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	// Without a state plane each place where offsets are missing is looked at.
	return &kafkaTail{cl: cl, fetch: cl.PollFetches, topic: cfg.Topic, split: cfg.StateURL == "", assigned: map[int32]bool{}}, nil
}

// assign has franz-go ask first where the epoch ended, if it is known, so that a log that parted from what was read is found
// (KIP-320).
func (k *kafkaTail) assign(partition int32, offset int64, epoch int32) {
	k.assigned[partition] = true
	at := kgo.NewOffset().At(offset)
	if epoch >= 0 {
		at = at.WithEpoch(epoch)
	}
	k.cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{k.topic: {partition: at}})
}

func (k *kafkaTail) remove(partition int32) {
	delete(k.assigned, partition)
	k.cl.RemoveConsumePartitions(map[string][]int32{k.topic: {partition}})
}

// close removes all partitions first: franz-go's Close does not expect that a metadata update still finds some that were just added, and then
// begins to fetch them while it closes.
func (k *kafkaTail) close() {
	k.cl.RemoveConsumePartitions(map[string][]int32{k.topic: slices.Collect(maps.Keys(k.assigned))})
	k.cl.Close()
}

func (k *kafkaTail) poll(ctx context.Context) ([]segment, error) {
	fetches := k.fetch(ctx)
	if fetches.IsClientClosed() {
		return nil, ErrClosed
	}
	// Whatever came counts, though ctx may have ended since: franz-go goes on behind it. That nothing came before ctx ended is an error within.
	var out []segment
	var failed, replaced error
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		out = append(out, toSegments(p.Partition, p.Records, k.split)...)
		switch fatal := fatalTail(p.Err); {
		case p.Err == nil:
		case errors.Is(fatal, errTopicReplace):
			replaced = fatal
		case fatal != nil:
			out = append(out, segment{partition: p.Partition, err: fatal})
		case p.Topic == "" || !kerr.IsRetriable(p.Err) || errors.Is(p.Err, kerr.UnknownTopicOrPartition):
			failed = p.Err
		}
	})
	if replaced != nil {
		out = append(out, k.forget(replaced)...)
	}
	return out, failed
}

// forget ends all partitions. franz-go holds on to the id of a topic that it knows, and fails until it is purged.
func (k *kafkaTail) forget(err error) []segment {
	k.cl.PurgeTopicsFromClient(k.topic)
	var out []segment
	for p := range k.assigned {
		out = append(out, segment{partition: p, err: err})
	}
	clear(k.assigned)
	return out
}

// fatalTail sorts out the errors after which the client does not go on by itself.
func fatalTail(err error) error {
	var loss *kgo.ErrDataLoss
	switch {
	case errors.As(err, &loss):
		return fmt.Errorf("%w: %w", errDiverged, err)
	case errors.Is(err, kerr.OffsetOutOfRange):
		return fmt.Errorf("%w: %w", errOutOfRange, err)
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		return fmt.Errorf("%w: %w", errTopicReplace, err)
	}
	return nil
}

func toSegments(partition int32, records []*kgo.Record, split bool) (out []segment) {
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].LeaderEpoch == records[0].LeaderEpoch && !(split && records[n].Offset != records[n-1].Offset+1) {
			n++
		}
		out = append(out, toSegment(partition, records[:n]))
		records = records[n:]
	}
	return out
}

func toSegment(partition int32, records []*kgo.Record) segment {
	s := segment{
		partition: partition, records: make([]batch.Record, 0, len(records)),
		first: records[0].Offset, next: records[0].Offset, epoch: records[0].LeaderEpoch,
	}
	for _, r := range records {
		s.gaps = s.gaps || r.Offset != s.next
		s.next = r.Offset + 1
		if r.Attrs.IsControl() {
			continue
		}
		s.records = append(s.records, batch.Record{
			Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value, Headers: encodedHeaders(r),
		})
	}
	return s
}

// describe asks for the topic's id, partitions, fold and bounds.
func (k *kafkaTail) describe(ctx context.Context) (topicInfo, error) {
	adm := kadm.NewClient(k.cl)
	topics, err := adm.ListTopics(ctx, k.topic)
	if err != nil {
		return topicInfo{}, fmt.Errorf("topic %s: %w", k.topic, err)
	}
	detail := topics[k.topic]
	if detail.Err != nil {
		return topicInfo{}, fmt.Errorf("topic %s: %w", k.topic, detail.Err)
	}
	info := topicInfo{id: detail.ID, partitions: detail.Partitions.Numbers()}
	if info.fold, err = topicFold(ctx, adm, k.topic); err != nil {
		return info, err
	}
	if info.starts, err = offsets(adm.ListStartOffsets(ctx, k.topic)); err == nil {
		info.ends, err = offsets(adm.ListCommittedOffsets(ctx, k.topic))
	}
	if err != nil {
		return info, fmt.Errorf("topic %s: %w", k.topic, err)
	}
	return info, nil
}

// offsets sorts what was listed by partition.
func offsets(listed kadm.ListedOffsets, err error) (map[int32]int64, error) {
	out := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err != nil && err == nil {
			err = fmt.Errorf("partition %d: %w", o.Partition, o.Err)
		}
		out[o.Partition] = o.Offset
	})
	return out, err
}

// topicFold reads keyframe.fold from a topic's configs. A broker that knows no such config has compacted topics only: last-value.
func topicFold(ctx context.Context, adm *kadm.Client, topic string) (fold.Kind, error) {
	configs, err := topicConfigs(ctx, adm, topic)
	if err != nil {
		return 0, err
	}
	if name := configs["keyframe.fold"]; name != "" {
		return fold.ParseKind(name)
	}
	return fold.LastValue, nil
}

// topicConfigs reads a topic's configs, by their names.
func topicConfigs(ctx context.Context, adm *kadm.Client, topic string) (map[string]string, error) {
	configs, err := adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("configs of topic %s: %w", topic, err)
	}
	c, err := configs.On(topic, nil)
	if err == nil {
		err = c.Err
	}
	if err != nil {
		return nil, fmt.Errorf("configs of topic %s: %w", topic, err)
	}
	values := map[string]string{}
	for _, x := range c.Configs {
		values[x.Key] = x.MaybeValue()
	}
	return values, nil
}
