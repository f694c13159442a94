package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/txn"
)

// Config of a broker. Start from DefaultConfig.
type Config struct {
	DataDir string

	KafkaAddr      string // host:port of the data plane; port 0 lets the system choose
	AdvertisedAddr string // host:port that clients are told; "": see advertised, and the port they connected to
	StateAddr      string // host:port of the state plane
	Insecure       bool   // allow addresses beyond loopback, although there is neither TLS nor authentication

	AutoCreateTopics  bool
	DefaultPartitions int32
	Folds             []topics.FoldPattern // folds of new key-framed topics by name
	Groups            group.Settings
	Transactions      txn.Settings
	Quotas            quota.Settings

	MaxConnections        int
	MaxConnectionsPerIP   int           // 0: no bound of its own
	ConnectionIdleTimeout time.Duration // a connection that asks for nothing is closed

	MemTableBytes       int64
	TailCacheBytes      int64 // batches kept in memory for consumers at the tail
	IntervalMemoryBytes int64 // open intervals of all partitions; 0: a sixteenth of the memory that the process may have, from 64 MiB to 1 GiB
	ScrubRows           int   // read back in the background and hashed, a second; 0: none

	// DrainTimeout bounds how long Close waits for answers in work.
	DrainTimeout time.Duration

	Now    func() time.Time
	Logger *slog.Logger
	// LogLevel is the level of Logger, which clients may change; nil: they change nothing.
	LogLevel *slog.LevelVar
	// Fatal is called when a sync failed and the process cannot go on; nil writes the message and exits with status 1.
	Fatal func(msg string)
}

// DefaultConfig is what `keyframe serve` starts without any setting.
func DefaultConfig() Config {
	return Config{
		DataDir:               "keyframe-data",
		KafkaAddr:             "127.0.0.1:9092",
		StateAddr:             "127.0.0.1:9094",
		AutoCreateTopics:      true,
		DefaultPartitions:     1,
		Groups:                group.DefaultSettings(),
		Transactions:          txn.DefaultSettings(),
		MaxConnections:        10_000,
		ConnectionIdleTimeout: 10 * time.Minute,
		MemTableBytes:         32 << 20,
		TailCacheBytes:        64 << 20,
		ScrubRows:             10_000,
		DrainTimeout:          10 * time.Second,
		Now:                   time.Now,
		Logger:                slog.New(slog.DiscardHandler),
	}
}

// ErrConfig wraps what Validate finds wrong.
var ErrConfig = errors.New("invalid configuration")

// Validate names everything that cannot be.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %w", ErrConfig, fmt.Errorf(format, args...)))
	}
	if c.DataDir == "" {
		wrong("no data directory")
	}
	for _, a := range []struct{ name, addr string }{{"Kafka address", c.KafkaAddr}, {"state address", c.StateAddr}} {
		if err := c.checkListen(a.addr); err != nil {
			wrong("%s %q: %w", a.name, a.addr, err)
		}
	}
	if c.AdvertisedAddr != "" {
		if _, _, err := splitAddr(c.AdvertisedAddr); err != nil {
			wrong("advertised address %q: %w", c.AdvertisedAddr, err)
		}
	}
	if c.DefaultPartitions < 1 {
		wrong("default partitions %d: at least one", c.DefaultPartitions)
	}
	if c.MemTableBytes < 1<<20 {
		wrong("memtable of %d bytes: at least 1 MiB", c.MemTableBytes)
	}
	if c.TailCacheBytes < 0 {
		wrong("tail cache of %d bytes: not below 0", c.TailCacheBytes)
	}
	if c.IntervalMemoryBytes != 0 && c.IntervalMemoryBytes < 1<<20 {
		wrong("interval memory of %d bytes: at least 1 MiB, or 0 for a share of the memory", c.IntervalMemoryBytes)
	}
	if c.ScrubRows < 0 {
		wrong("scrub of %d rows a second: not below 0", c.ScrubRows)
	}
	if c.MaxConnections < 1 {
		wrong("max connections %d: at least one", c.MaxConnections)
	}
	if c.MaxConnectionsPerIP < 0 {
		wrong("max connections per ip %d: not below 0", c.MaxConnectionsPerIP)
	}
	if c.ConnectionIdleTimeout <= 0 {
		wrong("connection idle timeout %v: above 0", c.ConnectionIdleTimeout)
	}
	if err := c.Quotas.Validate(); err != nil {
		wrong("%w", err)
	}
	if err := c.Groups.Validate(); err != nil {
		wrong("%w", err)
	}
	if err := c.Transactions.Validate(); err != nil {
		wrong("%w", err)
	}
	return errors.Join(errs...)
}

// checkListen refuses what would expose an unprotected broker by accident.
func (c Config) checkListen(addr string) error {
	host, _, err := splitAddr(addr)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	if c.Insecure || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("not a loopback address: whoever reaches it can read and delete everything, since there is no TLS and no authentication yet; " +
		"allow it with --insecure")
}

func splitAddr(addr string) (host string, port int32, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q is no number", text)
	}
	if strings.ContainsFunc(host, unicode.IsSpace) {
		return "", 0, fmt.Errorf("host %q has a space in it", host)
	}
	return host, int32(n), nil
}
