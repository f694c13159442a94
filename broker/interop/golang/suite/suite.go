// Package suite checks a Go client against a broker: one file per capability, the client behind the small interfaces below.
// What a capability means, and what a driver is given and prints, stands in ../../capabilities.txt.
//
//	func main() { suite.Main(client{}, "github.com/twmb/franz-go") }
package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// ErrUnsupported is what a client's adapter returns for what the client cannot do.
var ErrUnsupported = errors.New("the client has no such call")

// ErrOutOfRange is what a consumer without a reset policy returns, when it is made or polled, where the broker says OFFSET_OUT_OF_RANGE.
var ErrOutOfRange = errors.New("offset out of range")

// errElsewhere is a capability that the broker does not claim to have: the runner gave an empty variable.
var errElsewhere = errors.New("not of this broker")

// Record goes in and comes out.
type Record struct {
	Topic      string
	Partition  int32
	Offset     int64
	Key, Value []byte // nil: null
	Headers    []Header
	Time       time.Time // milliseconds
}

// Header of a record.
type Header struct {
	Key   string
	Value []byte
}

// ProducerConfig of a new producer. Acks are all of them.
type ProducerConfig struct {
	Codec           string // none, gzip, snappy, lz4, zstd
	Idempotent      bool
	TransactionalID string
	BatchBytesMax   int // 0: the client's own
}

// Producer sends to the partitions that the records name.
type Producer interface {
	// Send returns once all are acknowledged; Offset is filled in, or -1 where the client does not tell it.
	Send(ctx context.Context, records []Record) error
	Begin() error
	// SendOffsets commits the position of a consumer with the transaction: offset of partition 0 of the topic.
	SendOffsets(ctx context.Context, c Consumer, group, topic string, offset int64) error
	End(ctx context.Context, commit bool) error
	Close() error
}

// Start is a partition of an assignment and where to begin: an offset, Earliest or Latest.
type Start struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Special offsets of Start.
const (
	Earliest int64 = -2
	Latest   int64 = -1
)

// ConsumerConfig of a new consumer: an assignment, or a group that starts at the earliest offset.
type ConsumerConfig struct {
	Assign        []Start
	Group         string
	Topic         string
	InstanceID    string
	NewProtocol   bool // KIP-848
	AutoCommit    bool
	ReadCommitted bool
	Reset         string // what an assignment does where an offset is out of range; empty: whatever the client does by itself
}

// Reset policies, auto.offset.reset in other words.
const (
	ResetNone     = "none" // ErrOutOfRange
	ResetEarliest = "earliest"
)

// Consumer of an assignment or of a group.
type Consumer interface {
	// Poll waits for records for a short while.
	Poll(ctx context.Context) ([]Record, error)
	// Commit what was polled.
	Commit(ctx context.Context) error
	Close() error
}

// Admin is what the client has of an admin API.
type Admin interface {
	CreateTopic(ctx context.Context, name string, partitions int, configs map[string]string) error
	DeleteTopic(ctx context.Context, name string) error
	Topics(ctx context.Context) (map[string]int, error) // name -> partitions
	TopicConfigs(ctx context.Context, name string) (map[string]string, error)
	SetTopicConfig(ctx context.Context, name, key, value string) error
	SetPartitions(ctx context.Context, name string, total int) error
	OffsetFor(ctx context.Context, topic string, partition int32, timestamp int64) (int64, error) // ms, Earliest or Latest
	DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error
	Groups(ctx context.Context) ([]string, error)
	GroupState(ctx context.Context, group string) (string, error)
	GroupType(ctx context.Context, group string) (string, error) // classic, consumer
	GroupOffsets(ctx context.Context, group, topic string) (map[int32]int64, error)
	DeleteGroup(ctx context.Context, group string) error
	Close()
}

// Client makes all three. ErrUnsupported says that a config asks for what the client does not have.
type Client interface {
	Producer(addr, id string, c ProducerConfig) (Producer, error)
	Consumer(addr, id string, c ConsumerConfig) (Consumer, error)
	Admin(addr, id string) (Admin, error)
}

// run is one capability of one client.
type run struct {
	Client
	addr, prefix string
	made         int
	notes        []string
}

func (r *run) note(format string, arguments ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, arguments...))
}

func (r *run) noteOnce(format string, arguments ...any) {
	if note := fmt.Sprintf(format, arguments...); !slices.Contains(r.notes, note) {
		r.notes = append(r.notes, note)
	}
}

// name of a topic, group, ... of this capability.
func (r *run) name(what string) string { return r.prefix + "-" + what }

func (r *run) producer(c ProducerConfig) (Producer, error) {
	return r.Producer(r.addr, r.id(), c)
}

func (r *run) consumer(c ConsumerConfig) (Consumer, error) {
	return r.Consumer(r.addr, r.id(), c)
}

func (r *run) id() string {
	r.made++
	return fmt.Sprintf("%s-%d", r.prefix, r.made)
}

const capabilityTimeout = 90 * time.Second

// Main runs the capabilities that the environment asks for. module is what the client comes in.
func Main(c Client, module string) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == module {
				fmt.Printf("interop\tversion\tinfo\t0\t%s\n", m.Version)
			}
		}
	}
	only := os.Getenv("INTEROP_ONLY")
	for _, capability := range []struct {
		name string
		run  func(context.Context, *run) error
	}{
		{"produce", produce},
		{"consume", consume},
		{"codecs", codecs},
		{"headers", headers},
		{"groups", groups},
		{"rebalance", rebalance},
		{"static", static},
		{"groups848", groups848},
		{"idempotence", idempotence},
		{"transactions", transactions},
		{"admin", admin},
		{"bootstrap", bootstrap},
		{"log-start", readings("INTEROP_LOG_START")},
		{"folds", readings("INTEROP_FOLDS")},
		{"stale", readings("INTEROP_STALE")},
	} {
		if only != "" && !slices.Contains(strings.Split(only, ","), capability.name) {
			continue
		}
		r := &run{Client: c, addr: os.Getenv("INTEROP_ADDR"), prefix: os.Getenv("INTEROP_PREFIX") + "-" + capability.name}
		began := time.Now()
		err := bounded(capability.run, r)
		result, reason := "pass", strings.Join(r.notes, "; ")
		switch {
		case errors.Is(err, ErrUnsupported) || errors.Is(err, errElsewhere):
			result, reason = "skip", err.Error()
		case err != nil:
			result, reason = "fail", err.Error()
		}
		fmt.Printf("interop\t%s\t%s\t%d\t%s\n", capability.name, result, time.Since(began).Milliseconds(), strings.Join(strings.Fields(reason), " "))
	}
}

// bounded gives up on a capability whose client hangs; what hangs is left behind.
func bounded(f func(context.Context, *run) error, r *run) error {
	ctx, cancel := context.WithTimeout(context.Background(), capabilityTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v %s", p, debug.Stack())
			}
		}()
		done <- f(ctx, r)
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(capabilityTimeout + 10*time.Second):
		return fmt.Errorf("hangs: no end after %s", capabilityTimeout+10*time.Second)
	}
}
