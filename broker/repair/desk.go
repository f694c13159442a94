package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/storage/table"
)

// Errors of this package, beside those of storage/table: table.ErrNoFrame where there is no such frame.
var (
	// ErrCorrupt: the frame's rows do not hash to its digest, or cannot be read.
	ErrCorrupt = errors.New("the key frame is damaged on this broker, and nothing is repaired from it: its operator runs keyframe check")
	// ErrDisputed: replicas agree with one another and not with this broker.
	ErrDisputed = errors.New("replicas agree with one another and not with this broker: nothing is repaired from it until an operator has looked; " +
		"keyframe check folds the log anew and compares, and where it finds no problem, keyframe replica settle ends the dispute")
	// ErrBusy: as many frames as may be are read at the moment, or memory is held by those that somebody is at. Ask again.
	ErrBusy = errors.New("as many key frames as may be are repaired from at the moment: try again")
	// ErrTooLarge: the frame has more rows than may be held in memory.
	ErrTooLarge = errors.New("the key frame has too many rows to be repaired from: load it whole")
	// ErrClosed: the desk is closed.
	ErrClosed = errors.New("repair: closed")
)

const (
	defaultFrames = 2
	defaultMemory = 1 << 30
	defaultGrace  = 3 * time.Second
	defaultKeep   = time.Minute

	rowBytes  = 8 + 8 + 4 // tag, offset, the encoder's next index
	cellBytes = 24
	keptBytes = 512 // what a frame takes beside
	badMax    = 64  // damaged frames that are remembered
)

// Config of a Desk. Zero values mean the defaults.
type Config struct {
	// Frames bounds the frames that are read at a time, and those that cells are made of. Default 2.
	Frames int
	// MemoryBytes bounds what is kept of all frames. Default 1 GiB.
	MemoryBytes int64
	// Grace is how long after its last use a frame is not given up for another one. Default 3 s.
	Grace time.Duration
	// Keep is how long after its last use a frame is kept. Default 1 min.
	Keep time.Duration
	// Disputed says whether replicas agree against the broker on a partition. Nil: they never do.
	Disputed func(topicID [16]byte, partition int32) bool
	Now      func() time.Time
	Logger   *slog.Logger
	Metrics  prometheus.Registerer // nil: not registered
}

func (c Config) withDefaults() Config {
	if c.Frames <= 0 {
		c.Frames = defaultFrames
	}
	if c.MemoryBytes <= 0 {
		c.MemoryBytes = defaultMemory
	}
	if c.Grace <= 0 {
		c.Grace = defaultGrace
	}
	if c.Keep <= 0 {
		c.Keep = defaultKeep
	}
	if c.Disputed == nil {
		c.Disputed = func([16]byte, int32) bool { return false }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Source is the partition that a frame is of.
type Source struct {
	Topic     string
	TopicID   [16]byte
	Partition int32
	Table     *table.Table
	// Naming: nothing is repaired, what differs is only told: a dispute does not matter.
	Naming bool
}

// Desk serves repairs from key frames. Its methods may be called concurrently.
type Desk struct {
	cfg     Config
	metrics *metrics
	ctx     context.Context // of scans
	cancel  context.CancelFunc
	running sync.WaitGroup // scans, and the goroutine that forgets
	stop    chan struct{}
	wake    chan struct{}
	making  chan struct{} // has one for each frame that cells are made of; Config.Frames fit

	mu      sync.Mutex // guards the rest, and in each frame what stands under it
	closed  bool
	frames  map[[32]byte]*kept // by pub
	reading int                // scans under way, whether or not somebody waits for them
	bad     map[[32]byte]verdict
}

// verdict is what is remembered of a damaged frame.
type verdict struct {
	of  *table.Table // another one, with the same frame, is not meant
	err error
	at  time.Time
}

// NewDesk returns a desk; Close ends it.
func NewDesk(cfg Config) *Desk {
	d := &Desk{
		cfg: cfg.withDefaults(), frames: map[[32]byte]*kept{}, bad: map[[32]byte]verdict{},
		stop: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	d.making = make(chan struct{}, d.cfg.Frames)
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.metrics = newMetrics(d.cfg.Metrics, d)
	d.running.Go(func() { deadline.Keep(d.stop, d.wake, d.Forget) })
	return d
}

// Close ends scans and waits for them. Frames in use stay usable.
func (d *Desk) Close() error {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		d.cancel()
		close(d.stop)
	}
	d.mu.Unlock()
	d.running.Wait()
	return nil
}

// Open returns the frame at a cut as it is now, once it has been read and found to be what was published. Release it soon. Errors: ErrCorrupt,
// ErrDisputed, ErrBusy, ErrTooLarge, ErrClosed, table.ErrNoFrame and others of storage/table, ctx's.
func (d *Desk) Open(ctx context.Context, src Source, cut int64) (*Frame, error) {
	f, err := d.open(ctx, src, cut)
	if err != nil {
		d.metrics.refuse(err)
		return nil, fmt.Errorf("%s/%d at %d: %w", src.Topic, src.Partition, cut, err)
	}
	return f, nil
}

func (d *Desk) open(ctx context.Context, src Source, cut int64) (*Frame, error) {
	if !src.Naming && d.cfg.Disputed(src.TopicID, src.Partition) {
		return nil, ErrDisputed
	}
	view, err := src.Table.View(cut)
	if err != nil {
		return nil, err
	}
	k, scan, err := d.take(src, view)
	if !scan {
		err = errors.Join(err, view.Close())
	}
	if k == nil {
		return nil, err
	}
	f := &Frame{desk: d, kept: k}
	if err == nil {
		select {
		case <-k.ready:
			err = k.err
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		f.Release()
		return nil, err
	}
	return f, nil
}

// take finds the frame that a view shows, or begins to read it: scan says that the view is the scan's from now on.
func (d *Desk) take(src Source, view *table.View) (k *kept, scan bool, err error) {
	pub := src.Table.Pub(view.Frame())
	now := d.cfg.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, false, ErrClosed
	}
	if v, ok := d.bad[pub]; ok && v.of == src.Table && now.Sub(v.at) < d.cfg.Keep {
		return nil, false, v.err
	}
	if k = d.frames[pub]; k != nil && k.src.Table != src.Table { // that one is gone, and cannot give rows any more
		delete(d.frames, pub)
		k = nil
	}
	if k == nil {
		if d.reading >= d.cfg.Frames {
			return nil, false, ErrBusy
		}
		k = newKept(src, view.Frame(), pub)
		if err := d.admitLocked(now, k, k.bytes()); err != nil {
			return nil, false, err
		}
		scan = true
		k.uses++ // by the scan, whoever waits for it
		d.reading++
		d.frames[pub] = k
		d.running.Go(func() { d.scan(k, view) })
	}
	k.uses++
	return k, scan, nil
}

// admitLocked makes room for a frame of so many bytes, which is in use or new, at the cost of those not used for longest.
func (d *Desk) admitLocked(now time.Time, frame *kept, bytes int64) error {
	if bytes > d.cfg.MemoryBytes {
		return fmt.Errorf("%w: it takes %d bytes of %d", ErrTooLarge, bytes, d.cfg.MemoryBytes)
	}
	for {
		held, oldest := bytes, (*kept)(nil)
		for _, k := range d.frames {
			if k == frame {
				continue
			}
			held += k.bytes()
			if k.uses == 0 && now.Sub(k.last) >= d.cfg.Grace && (oldest == nil || k.last.Before(oldest.last)) {
				oldest = k
			}
		}
		if held <= d.cfg.MemoryBytes {
			return nil
		}
		if oldest == nil {
			return ErrBusy
		}
		delete(d.frames, oldest.pub)
	}
}

// grow makes room for the first n cells of a frame that is in use. What was made stays its own.
func (d *Desk) grow(k *kept, n int) error {
	now := d.cfg.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	n = max(n, k.cellRoom)
	if err := d.admitLocked(now, k, k.bytes()+int64(n-k.cellRoom)*cellBytes); err != nil {
		return fmt.Errorf("%d cells: %w", n, err)
	}
	k.cellRoom = n
	return nil
}

// Forget lets go of what was not used for Keep, and returns when it is to be called again. The desk's goroutine calls it.
func (d *Desk) Forget() time.Duration {
	now := d.cfg.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.cfg.Keep
	for pub, k := range d.frames {
		if k.uses > 0 {
			continue
		}
		if left := d.cfg.Keep - now.Sub(k.last); left > 0 {
			next = min(next, left)
		} else {
			delete(d.frames, pub)
		}
	}
	for pub, v := range d.bad {
		if now.Sub(v.at) >= d.cfg.Keep {
			delete(d.bad, pub)
		}
	}
	return next
}

// held is what is kept.
func (d *Desk) held() (frames int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.frames {
		bytes += k.bytes()
	}
	return len(d.frames), bytes
}
