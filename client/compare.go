package client

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/client/reconcile"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// CompareConfig says what a source is compared with. StateURL and Topic are required.
type CompareConfig struct {
	StateURL string
	Topic    string
	// At is a cut that was made before the source was taken, or offsets that key frames are at. Nil: a cut is made before the source is read. The source is
	// compared with the topic's state there, and what deltas touched since is looked at as it is now; see Comparison. Of a source that equals the cut that was
	// made for it nothing else is looked at.
	At *state.At
	// Partitioner is that of the producers: keys that the log does not have belong to its partitions, and a comparison costs less where it is the right
	// one. Default: Kafka's (murmur2 of the key).
	Partitioner kgo.Partitioner
	// OnCompared, where set, is called once it is known what differs, and before that is told.
	OnCompared func(Comparison)
	// OnDifference, where set, is called for every row that differs, by key: Here is the source. OnMoved for every key that a delta touched since the cut
	// and that is not what the source has, whether it differed at the cut or not: what the log has there may be newer than the source. Log is its row now,
	// at the Difference's Cut. Where Compare fails before it is known which these are, all that differ at the cut are told as differences.
	OnDifference func(Difference)
	OnMoved      func(Difference)

	// Retry is the first pause after a failed call. Default 100 ms.
	Retry      time.Duration
	HTTPClient *http.Client
	Logger     *slog.Logger
}

// Comparison is how a source's state and a topic's compare at a cut, and in the keys that deltas touched since. Such a key is right if its row now is the
// source's, and has moved if it is not. Any other key is as it was at the cut, or its row has expired since (retention, DeleteRecords): then it differs if
// the source has it, and is to be put again.
type Comparison struct {
	Topic string
	// Outcome is Equal if every key is what the source has: was at the cut and was not touched since, or is now. Drifted if rows differ, or keys have moved.
	Outcome Outcome
	Reason  string // why it is Drifted, but for Puts and Deletes
	// Cut is usable as a point as long as its frames are kept; it may be empty. Offsets are the same, by partition.
	Cut        string
	Offsets    []int64
	Consistent bool          // false: an open transaction held a partition's cut below its end, or one that was made to look at what moved
	Source     digest.Digest // its Count is the number of rows
	Log        digest.Digest // at Cut
	Method     Method
	// Rows that differ: to be put, to be deleted (those of keys that are live in another partition as well among them); and keys that have moved and are
	// left alone.
	Puts, Deletes, Duplicates, Moved int64
	Bytes                            int64 // received
	RoundTrips                       int
}

// ByDigest is the Method of a comparison for which digests sufficed.
const ByDigest = Method(reconcile.ByDigest)

// Compare compares a source's full state with a topic, and changes nothing. Of a row of the source Key and Value are read; they come in any order,
// each key once. It is ranged over once for its digest, which takes 16 bytes of memory a row, and again, only if something differs, for the rows that do,
// and if keys were touched since the cut, for those; rows that have expired since, rows that are refused, and ways to compare that fail, may cost another
// time. See package client/reconcile for how it compares.
//
// Errors: *reconcile.DuplicateKeyError, *reconcile.RowError, reconcile.ErrSourceChanged, reconcile.ErrNotACut, reconcile.ErrTooOld; ErrUnrepairable where
// the broker's own rows are in doubt; ErrConfig; the source's and the calls'.
func Compare(ctx context.Context, cfg CompareConfig, source iter.Seq2[Row, error]) (Comparison, error) {
	if cfg.StateURL == "" || cfg.Topic == "" {
		return Comparison{}, fmt.Errorf("%w: StateURL or Topic is empty", ErrConfig)
	}
	asked := plane.New(cmp.Or(cfg.HTTPClient, http.DefaultClient), cfg.StateURL, cfg.Topic)
	r, err := reconcile.Compare(ctx, cfg.reconcile(asked), keysAndValues(source))
	c := compared(cfg.Topic, r)
	cfg.tell(c, r)
	if err != nil {
		return Comparison{}, fmt.Errorf("topic %s: %w", cfg.Topic, err)
	}
	return c, nil
}

func (cfg *CompareConfig) reconcile(asked *plane.Plane) reconcile.Config {
	return reconcile.Config{Plane: asked, Partition: homeOf(cfg.Partitioner, cfg.Topic), At: cfg.At, Retry: cfg.Retry, Logger: cfg.Logger}
}

// compared is what a result says of a topic.
func compared(topic string, r reconcile.Result) Comparison {
	c := Comparison{
		Topic: topic, Outcome: Equal, Cut: r.Cut.Name, Offsets: r.Cut.Offsets, Consistent: r.Cut.Consistent && r.Later.Consistent, Source: r.Source, Log: r.Log,
		Method: Method(r.Method), Moved: int64(len(r.Moved)), Bytes: r.Bytes, RoundTrips: r.RoundTrips,
	}
	for _, w := range r.Writes {
		c.count(w)
	}
	if r.Now != r.Source {
		c.Outcome = Drifted
	}
	if c.Outcome == Drifted && len(r.Writes) == 0 || len(r.Moved) > 0 {
		c.Reason = othersWrote(c.Moved, r.Source, r.Now)
	}
	return c
}

// othersWrote says that keys were left alone, or where none is known that the topic's state is another one all the same, as where rows expire while others
// are written.
func othersWrote(moved int64, source, now digest.Digest) string {
	switch moved {
	case 0:
		return "rows were written or have expired since it was compared: " + differs(source, now)
	case 1:
		return "1 key was written by others since the cut, and left alone"
	}
	return fmt.Sprintf("%d keys were written by others since the cut, and left alone", moved)
}

// tell tells what differs, if anything was compared.
func (cfg *CompareConfig) tell(c Comparison, r reconcile.Result) {
	if r.Method == "" {
		return
	}
	if cfg.OnCompared != nil {
		cfg.OnCompared(c)
	}
	for _, w := range r.Writes {
		if cfg.OnDifference != nil {
			cfg.OnDifference(asDifference(w, r.Later.Offsets[w.Partition]))
		}
	}
	for _, w := range r.Moved {
		if cfg.OnMoved != nil {
			cfg.OnMoved(asDifference(w, r.Later.Offsets[w.Partition]))
		}
	}
}

func (c *Comparison) count(w reconcile.Write) {
	switch {
	case w.Value != nil:
		c.Puts++
	case w.Duplicate:
		c.Duplicates++
		fallthrough
	default:
		c.Deletes++
	}
}

func asDifference(w reconcile.Write, cut int64) Difference {
	return Difference{Partition: w.Partition, Cut: cut, Key: w.Key, Here: w.Source, Log: w.Log}
}

// keysAndValues is what a comparison reads of rows.
func keysAndValues(source iter.Seq2[Row, error]) reconcile.Source {
	return func(yield func(reconcile.Row, error) bool) {
		for row, err := range source {
			if !yield(reconcile.Row{Key: row.Key, Value: row.Value}, err) || err != nil {
				return
			}
		}
	}
}

// homeOf is the partition that a partitioner chooses for a key. One that does not always choose the same is not asked.
func homeOf(p kgo.Partitioner, topic string) func(key []byte, n int) int32 {
	if p == nil || !p.ForTopic(topic).RequiresConsistency(&kgo.Record{Topic: topic, Key: []byte{}}) {
		p = kgo.StickyKeyPartitioner(nil)
	}
	t, r := p.ForTopic(topic), &kgo.Record{Topic: topic}
	byBackup, _ := t.(kgo.TopicBackupPartitioner) // whose Partition is never called
	return func(key []byte, n int) int32 {
		if r.Key = key; byBackup != nil {
			return int32(byBackup.PartitionByBackup(r, n, &noBackup{n: n}))
		}
		return int32(t.Partition(r, n))
	}
}

// noBackup tells a partitioner that no records wait in any of n partitions.
type noBackup struct{ n int }

func (b *noBackup) Rem() int { return b.n }

func (b *noBackup) Next() (int, int64) {
	b.n--
	return b.n, 0
}
