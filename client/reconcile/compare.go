package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// Config describes a comparison. Plane is required.
type Config struct {
	Plane *plane.Plane
	// Partition is the partition of n, in [0, n), that producers write a key to: always the same. Nil: 0.
	Partition func(key []byte, n int) int32
	// At is a cut that was made before the source was taken; nil: one is made before the source is read. Errors: ErrNotACut.
	At *state.At
	// Settled: what is found is going to be written. Nobody sees what is in a transaction that is open, nor what was written behind its first record, so its
	// end is waited for before it is decided which keys moved; OpenWait at most, then ErrOpenTransaction.
	Settled bool
	// OnOpen, where set, is called once such a wait begins.
	OnOpen func(context.Context)
	// Retry is the first pause after a call that failed. Default 100 ms.
	Retry  time.Duration
	Now    func() time.Time
	Logger *slog.Logger
}

// Method names how it was found out what differs.
type Method string

const (
	ByDigest Method = "digest" // the digests are equal, or the log has no rows
	BySketch Method = "sketch" // cells of a set sketch, at the cost of the difference
	ByTags   Method = "tags"   // 8 bytes for each row of the log
	ByFrame  Method = "frame"  // whole key frames
)

// Write is a delta that makes the row of one key in one partition that of the source.
type Write struct {
	Partition int32
	Key       []byte
	Value     []byte // as the topic's row will have it; nil: the key is deleted
	// Source and Log are the entries (proto/digest) of the two rows; zero: there is no such row.
	Source, Log digest.Entry
	// Duplicate: the key is live in another partition too, and this row goes.
	Duplicate bool

	stays int32 // of a duplicate that is to be written: the partition where the key's row stays
}

// Result is what a comparison found.
type Result struct {
	Cut         Cut
	Fold        fold.Kind     // of the topic
	Source, Log digest.Digest // of the source, of the topic at the cut
	Method      Method
	// Writes are, by key, what makes the topic's state at Later the source's, but for keys that deltas touched since the cut. A row that has expired since
	// is put again.
	Writes []Write
	// Moved are, by key and one for each, the keys that deltas touched since the cut and that are not what the source has: nothing of them is to be written.
	// Log is the row at Later; they have no Value.
	Moved []Write
	// Later is where it was looked at what moved, and Now the topic's digest there: where that is the source's, there are neither Writes nor Moved.
	Later Cut
	Now   digest.Digest

	Bytes      int64 // received
	RoundTrips int

	of *comparison
}

// Cut is where a topic was compared.
type Cut struct {
	Name       string // empty where the caller named offsets, or nothing was ever committed
	Consistent bool   // false: an open transaction held a partition's cut below its end
	Offsets    []int64
}

// cutTries is how often another cut is compared with: because a frame was thinned out, or superseded, meanwhile, or because rows have expired.
const cutTries = 3

// comparison is one call of Compare.
type comparison struct {
	cfg      Config
	patience *plane.Patience
	topic    []plane.Partition // by number
	source   *reader
	prints   prints

	first  plane.Cut
	since  []int64 // its offsets: what was touched from there on has moved
	cut    plane.Cut
	frames []*plane.Repair // by partition; nil: it never had a record
	past   []*plane.Repair // of former cuts: they cost, too
	later  plane.Cut       // of the last look at what moved

	bytes int64
	trips int
}

// Compare finds what differs between a source and a topic at a cut. Errors: those of this package; plane.ErrUnrepairable where the broker's frames are
// damaged or disputed; plane.ErrBusy; plane.ErrOtherIncarnation where the topic is created anew meanwhile; the source's and the calls'. Where it is known
// by then what differs, and only not which of the keys moved, that comes with the error: nothing of it is to be written.
func Compare(ctx context.Context, cfg Config, source Source) (Result, error) {
	if cfg.Retry == 0 {
		cfg.Retry = 100 * time.Millisecond
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Partition == nil {
		cfg.Partition = func([]byte, int) int32 { return 0 }
	}
	c := &comparison{cfg: cfg, patience: plane.NewPatience(cfg.Retry, cfg.Now)}
	kind, kept, err := c.describe(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := c.takeCut(ctx, kept); err != nil {
		return Result{}, err
	}
	c.first, c.since = c.cut, c.offsets(c.cut)
	c.source = newReader(source, kind)
	if c.prints, err = c.source.read(ctx, len(c.topic), c.home); err != nil {
		return Result{}, err
	}
	for try := 0; ; try++ {
		c.patience = plane.NewPatience(cfg.Retry, cfg.Now) // the source may have taken long
		r, explained, err := c.compare(ctx)
		gone := errors.Is(err, plane.ErrNoFrame) || errors.Is(err, plane.ErrFrameChanged)
		switch {
		case try == cutTries || err == nil && explained || err != nil && !gone:
			return r, err
		case gone:
			cfg.Logger.Info("reconcile: a key frame is gone, another cut is made", "err", err)
			err = c.makeCut(ctx)
		default:
			cfg.Logger.Debug("reconcile: what moved does not explain what the topic is now, and it is compared as it is now")
			err = c.use(c.later)
		}
		if err != nil {
			return Result{}, err
		}
	}
}

// describe asks for the topic's partitions, its fold, and the frames that are kept.
func (c *comparison) describe(ctx context.Context) (kind fold.Kind, kept []plane.Frame, err error) {
	err = c.call(ctx, func(ctx context.Context) (err error) {
		var size int64
		c.topic, kept, size, err = c.cfg.Plane.List(ctx)
		c.bytes += size
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	for i, p := range c.topic {
		if int(p.Partition) != i {
			return 0, nil, fmt.Errorf("%w: partition %d is the %dth of the topic", plane.ErrLied, p.Partition, i)
		}
		if p.Failure != "" {
			return 0, nil, fmt.Errorf("partition %d cannot be compared: %s", i, p.Failure)
		}
	}
	if len(c.topic) == 0 {
		return 0, nil, fmt.Errorf("%w: a topic without partitions", plane.ErrLied)
	}
	kind, err = fold.ParseKind(c.topic[0].Fold)
	return kind, kept, err
}

// home is the partition that producers write a key to; 0 where they have none.
func (c *comparison) home(key []byte) int32 {
	p := c.cfg.Partition(key, len(c.topic))
	if p < 0 || int(p) >= len(c.topic) {
		return 0
	}
	return p
}

// takeCut makes the first cut, or finds the frames of the caller's.
func (c *comparison) takeCut(ctx context.Context, kept []plane.Frame) error {
	if c.cfg.At == nil {
		return c.makeCut(ctx)
	}
	var offsets map[int32]int64
	err := c.call(ctx, func(ctx context.Context) (err error) {
		offsets, err = c.cfg.Plane.Offsets(ctx, c.cfg.At)
		return err
	})
	if said := (*connect.Error)(nil); errors.Is(err, plane.ErrNoFrame) && errors.As(err, &said) {
		return fmt.Errorf("%w: %s", ErrNotACut, said.Message())
	}
	if err != nil {
		return err
	}
	at := map[int32]plane.Frame{}
	for _, f := range kept {
		if f.Cut == offsets[f.Partition] {
			at[f.Partition] = f
		}
	}
	cut := plane.Cut{Name: c.cfg.At.GetCut(), Consistent: true}
	for p := range int32(len(c.topic)) {
		f, ok := at[p]
		switch offset, named := offsets[p]; {
		case !named:
			return fmt.Errorf("%w: it says nothing of partition %d", ErrNotACut, p)
		case ok:
			cut.Frames = append(cut.Frames, f)
		case offset > 0:
			return fmt.Errorf("%w: partition %d has none at %d", ErrNotACut, p, offset)
		}
	}
	return c.use(cut)
}

func (c *comparison) makeCut(ctx context.Context) error {
	cut, err := c.newCut(ctx)
	if err != nil {
		return err
	}
	return c.use(cut)
}

func (c *comparison) newCut(ctx context.Context) (cut plane.Cut, err error) {
	err = c.call(ctx, func(ctx context.Context) (err error) {
		cut, err = c.cfg.Plane.Cut(ctx)
		return err
	})
	c.bytes += cut.Bytes
	return cut, err
}

func (c *comparison) call(ctx context.Context, fn func(context.Context) error) error {
	return c.patience.Call(ctx, func(ctx context.Context) error {
		c.trips++
		return fn(ctx)
	})
}

// use compares with the frames of a cut from now on.
func (c *comparison) use(cut plane.Cut) error {
	for _, r := range c.frames {
		if r != nil {
			c.past = append(c.past, r)
		}
	}
	c.cut, c.frames = cut, make([]*plane.Repair, len(c.topic))
	for _, f := range cut.Frames {
		if err := c.known(f); err != nil {
			return err
		}
		c.frames[f.Partition] = &plane.Repair{Plane: c.cfg.Plane, Of: f, Replica: "reconcile"}
	}
	return nil
}

// known tells whether a frame is of the topic as it was when the comparison began.
func (c *comparison) known(f plane.Frame) error {
	switch {
	case f.Partition < 0 || int(f.Partition) >= len(c.topic):
		return fmt.Errorf("the topic has a partition %d: it was given more than %d while it was compared", f.Partition, len(c.topic))
	case f.Incarnation != c.topic[f.Partition].Incarnation || f.TopicID != c.topic[f.Partition].TopicID:
		return fmt.Errorf("%w: partition %d", plane.ErrOtherIncarnation, f.Partition)
	}
	return nil
}

func (c *comparison) offsets(cut plane.Cut) []int64 {
	offsets := make([]int64, len(c.topic))
	for _, f := range cut.Frames {
		offsets[f.Partition] = f.Cut
	}
	return offsets
}

func (c *comparison) point(cut plane.Cut) Cut {
	return Cut{cut.Name, cut.Consistent, c.offsets(cut)}
}

// compare compares with the frames of the cut. It tells whether what was found explains what the topic is at the last look.
func (c *comparison) compare(ctx context.Context) (r Result, explained bool, err error) {
	r = Result{Cut: c.point(c.first), Fold: c.source.kind, Source: c.prints.digest, Log: c.first.Digest(), Method: ByDigest, of: c}
	r.Later, r.Now = c.point(c.cut), c.cut.Digest()
	if r.Source == r.Now && c.cfg.At == nil { // at a cut that was made for it: what is written from then on is no matter of the source's
		r.Bytes, r.RoundTrips = c.cost()
		return r, true, nil
	}
	var writes []Write
	if r.Source != r.Now {
		if writes, r.Method, err = c.find(ctx); err != nil {
			return Result{}, false, err
		}
	}
	r.Writes, r.Moved, explained, err = c.leaveMoved(ctx, writes)
	switch {
	case err == nil:
		r.Later, r.Now = c.point(c.later), c.later.Digest()
	case len(writes) == 0:
		return Result{}, false, err
	default:
		r.Writes = writes
	}
	r.Bytes, r.RoundTrips = c.cost()
	return r, explained, err
}

func (c *comparison) cost() (bytes int64, trips int) {
	bytes, trips = c.bytes, c.trips
	for _, list := range [][]*plane.Repair{c.frames, c.past} {
		for _, r := range list {
			if r != nil {
				bytes, trips = bytes+r.Bytes, trips+r.Trips
			}
		}
	}
	return bytes, trips
}
