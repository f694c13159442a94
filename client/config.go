package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/proto/fold"
)

// From says where a replica that holds nothing starts.
type From int

const (
	// FromFrame loads the newest key frame and follows the log from its cut. Where the
	// state plane has no frame yet, the replica starts at earliest.
	FromFrame From = iota
	// FromEarliest reads the log from its first offset; where deltas were trimmed, it loads the frame that is left of them and reads
	// on from its cut. It needs no state plane, and costs what the log holds.
	FromEarliest
)

// Policy says what a replica does when a digest proves that it has drifted.
type Policy int

const (
	// Repair publishes the verdict, stops at the key frame that differs, finds out which keys do, and makes them what the log has, at the cost
	// of the difference; then it follows on. Each of these keys is logged and handed to OnDifference, also where replicas agree against the broker,
	// which repairs nobody until that is settled: then they are left as they are.
	Repair Policy = iota
	// Report publishes the verdict (log, event, metric callback), names the keys that differ if it has not named them before, and goes on. Where the log does
	// not go on from the state, a frame takes its place as with Repair.
	Report
	// Halt publishes the verdict, stops following the partition and names the keys that differ; Err tells why, and (ErrDisputed) whether replicas agree
	// against the broker. Stopped is told when the keys of other partitions that are about to be compared are named too, which takes half a minute at most
	// but for the naming. A Dir remembers that: where the log has only a whole frame for it when it is opened again, with Halt, it stays as it is
	// (*ReplaceRefusedError) until it is equal, or a frame has taken its place with another policy.
	Halt
	// Rebootstrap publishes the verdict, names the keys that differ, and loads a key frame at or above the position anew, but none while replicas agree
	// against the broker.
	Rebootstrap
)

// Store chooses where a replica keeps its rows: Memory or Dir.
type Store struct {
	dir string
	fs  vfs.FS // nil: the operating system's
}

// Memory keeps the rows in this process. A restart bootstraps again.
func Memory() Store { return Store{} }

// Dir keeps the rows in a directory of their own, one for each topic, with position, incarnation and digest in the same
// commit, so that a restart goes on where the replica was. The directory is locked while the replica is open. If the disk
// fails to sync, the process ends with a message: nothing that was not written may be taken for written.
func Dir(path string) Store { return Store{dir: path} }

// DirFS is Dir on another file system, for tests and simulations.
func DirFS(fs vfs.FS, path string) Store { return Store{dir: path, fs: fs} }

func (s Store) fileSystem() vfs.FS {
	if s.fs == nil {
		return vfs.Default
	}
	return s.fs
}

// Config describes a replica. Brokers (or KafkaOptions that name them) and Topic are required.
type Config struct {
	// Brokers are the seed brokers of the data plane, host:port.
	Brokers []string
	// StateURL is the state plane, such as http://127.0.0.1:9094. Without it there are no frames
	// to load and nothing to verify against: every verdict is inconclusive.
	StateURL string
	// Topic is the key-framed topic. Partitions limits the replica to some of its partitions; nil means all.
	Topic      string
	Partitions []int32
	// Name is the replica's own among the topic's replicas, at most 249 bytes. Default: of host, process and chance. A Dir store
	// keeps the name that it was given last, or else got first: a copy under two names would count as two.
	Name string

	Store Store
	From  From
	// OnDrift is the policy for a replica that is proved to differ. Default: Repair.
	OnDrift Policy

	// Fold of the topic; 0 reads `keyframe.fold` from the topic's configs.
	Fold fold.Kind

	// BootstrapParallel is how many partitions load a frame at the same time. Default 4.
	BootstrapParallel int
	// RingEntries is how many recent (position, Count, Sum) a partition remembers at most, 48 bytes each, to compare with
	// frames that are announced after the replica has passed them. Default 65,536.
	RingEntries int
	// WatchChanges is how many recent changes a partition keeps for its watchers. Default 16,384.
	WatchChanges int
	// CommitBytes and CommitInterval bound what a Dir store collects before it commits. Defaults 32 MiB, 5 s.
	CommitBytes    int64
	CommitInterval time.Duration
	// ScrubRate is how many stored rows a second are hashed anew in the background, to find what memory or disk changed. Default: 40,000
	// with Memory, 5,000 with Dir, which is about 1 % of a core. Negative: none.
	ScrubRate  int
	scrubPause time.Duration // between two passes; a minute
	haltWait   time.Duration // see haltWait

	// Retry is the first pause after a failed call; it doubles, up to 64 times itself at most; that of a report, up to 5 s. Default 100 ms.
	Retry time.Duration

	// OnVerdict and OnEvent, where set, are called for each verdict and event of a partition, one at a time and in the order in which it happened;
	// of several partitions beside one another. They come soon after it happened: the partition goes on meanwhile, and stands still when 64 are still
	// to be told; no other partition waits. OpenReplica returns once the event of each partition's first state is told, Close once all is.
	//
	// All methods of the replica may be called within a callback, but for what Close says of Scan and Watch. Where WaitFor or Watch would have to wait, they
	// return ErrInCallback at once, as the partition may be waiting for the callback. What Verify and Scrub find there is told after it has returned.
	// A callback must not wait for another goroutine that calls Close, or that waits for the replica: to the replica that is none within it.
	OnVerdict func(Verdict)
	OnEvent   func(Event)
	// OnDifference, where set, is called for every key that differs, whatever the policy, as it is logged: before a repair puts it right, and before what
	// happens next. Else it is called as OnVerdict is, but the partition stands still until all are told.
	OnDifference func(Difference)

	// Metrics, where set, gets counters of verdicts and events.
	Metrics      prometheus.Registerer
	Logger       *slog.Logger
	Now          func() time.Time
	HTTPClient   *http.Client
	KafkaOptions []kgo.Opt
}

// ErrConfig wraps what Validate finds wrong.
var ErrConfig = errors.New("invalid client configuration")

func (c Config) withDefaults() Config {
	setDefault(&c.BootstrapParallel, 4)
	setDefault(&c.RingEntries, 1<<16)
	setDefault(&c.WatchChanges, 1<<14)
	setDefault(&c.CommitBytes, 32<<20)
	setDefault(&c.CommitInterval, 5*time.Second)
	setDefault(&c.Retry, 100*time.Millisecond)
	setDefault(&c.scrubPause, time.Minute)
	setDefault(&c.haltWait, haltWait)
	if c.Store.dir == "" {
		setDefault(&c.ScrubRate, 40_000)
	}
	setDefault(&c.ScrubRate, 5_000)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{}
	}
	return c
}

// Validate tells what is missing or contradicts itself.
func (c Config) Validate() error {
	switch {
	case c.Topic == "":
		return fmt.Errorf("%w: Topic is empty", ErrConfig)
	case len(c.Brokers) == 0 && len(c.KafkaOptions) == 0:
		return fmt.Errorf("%w: Brokers is empty", ErrConfig)
	case c.From == FromFrame && c.StateURL == "":
		return fmt.Errorf("%w: key frames come from the state plane: set StateURL, or From: FromEarliest", ErrConfig)
	case len(c.Name) > nameBytesMax:
		return fmt.Errorf("%w: Name has %d bytes, at most %d are admitted", ErrConfig, len(c.Name), nameBytesMax)
	case strings.ContainsFunc(c.Name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return fmt.Errorf("%w: Name %q is not text: it is shown on terminals", ErrConfig, c.Name)
	case c.BootstrapParallel < 0 || c.RingEntries < 0 || c.WatchChanges < 0 || c.CommitBytes < 0:
		return fmt.Errorf("%w: a bound is negative", ErrConfig)
	}
	return nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
