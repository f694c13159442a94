package txn

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// Store keeps transactional ids; *catalog.Catalog is one.
type Store interface {
	Transactions() ([]catalog.Transaction, error)
	PutTransaction(t *catalog.Transaction) (*catalog.Write, error)
	PutTxnAddition(a *catalog.TxnAddition) (*catalog.Write, error)
	DeleteTransaction(id string) (*catalog.Write, error)
	EndTransaction(pb *pebble.Batch, after *catalog.Transaction, producerID int64, additions int) error
	NextProducerID() (int64, error)
}

// Markers writes the end of a transaction: a marker in each partition that there still is, and what extra writes, in one atomic
// batch. It returns when that is durable. An error means that nothing was written, or that the process is about to end. Log is the one
// that brokers have.
type Markers interface {
	WriteMarkers(end *End, extra func(*pebble.Batch) error) error
}

// Groups keeps the offsets that are committed in transactions; *group.Coordinator is one.
type Groups interface {
	// EndOffsets keeps other writes to the groups out until finish is called, after write has put what the end changes into a
	// batch: with durable, that is how the groups are then.
	EndOffsets(producerID int64, groups []string, commit bool) (write func(*pebble.Batch) error, finish func(durable bool))
}

// Settings are what Kafka's broker configuration says about transactions.
type Settings struct {
	MaxTimeout   time.Duration // transaction.max.timeout.ms
	IDExpiration time.Duration // transactional.id.expiration.ms
}

// DefaultSettings are Kafka's.
func DefaultSettings() Settings {
	return Settings{MaxTimeout: 15 * time.Minute, IDExpiration: 7 * 24 * time.Hour}
}

// Validate names the first setting that cannot be.
func (s Settings) Validate() error {
	switch {
	case s.MaxTimeout < time.Millisecond:
		return fmt.Errorf("transaction.max.timeout.ms is %v; it must be at least 1 ms", s.MaxTimeout)
	case s.IDExpiration < time.Millisecond:
		return errors.New("transactional.id.expiration.ms must be at least 1 ms")
	}
	return nil
}

// Config is what a Coordinator needs.
type Config struct {
	Settings
	Store   Store
	Markers Markers
	Groups  Groups // nil: no offsets are committed in transactions
	// Admit, if not nil, says whether there is room on the disk for what clients may do without end.
	Admit   func(bytes int) error
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: not registered
}
