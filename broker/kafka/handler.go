package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/configs"
	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/log"
)

// NodeID is the only broker.
const NodeID int32 = 1

// Config of a Handler. Registry, Configs and Producers are required.
type Config struct {
	Registry  *topics.Registry
	Configs   *configs.Store // of everything but topics
	Producers ProducerIDs
	Groups    *group.Coordinator // nil: the group APIs are not offered
	// Transactions needs Groups. nil: the transaction APIs are not offered, and transactional producers are refused.
	Transactions *txn.Coordinator
	Log          *log.Store     // of all partitions; needed with Transactions
	Quotas       *quota.Manager // nil: nothing is bounded, and the quota APIs are not offered
	Rows         RowSource      // nil: offsets below the delta start offset are out of range

	AdvertisedHost string // default localhost
	AdvertisedPort int32  // 0: the port that the client connected to
	ClusterID      string
	LogDir         LogDir
	LeaderEpoch    int32 // of all partitions, for this run (catalog.BeginEpoch)

	NoAutoCreate bool // auto.create.topics.enable=false

	FetchMaxBytes        int   // of one response; default 55 MiB (Kafka's fetch.max.bytes)
	FetchOutstandingMax  int64 // memory of fetched records not sent yet, over all connections; default 128 MiB. Above it a response carries one batch
	MaxDecompressedBytes int   // of one batch; default 64 MiB

	FetchSessions     int   // at most; default 1,000 (Kafka's max.incremental.fetch.session.cache.slots), negative: none
	FetchSessionBytes int64 // memory of all fetch sessions; default 64 MiB

	Now     func() time.Time
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: not registered
}

// ProducerIDs hands out producer ids that were never used before; *catalog.Catalog is one.
type ProducerIDs interface {
	NextProducerID() (int64, error)
}

// Handler answers Kafka requests; it is a wire.Handler.
type Handler struct {
	cfg      Config
	handlers map[int16]handlerFunc
	metrics  *metrics
	readers  sync.Pool     // of *batch.Reader
	reading  chan struct{} // one token for each reader that may be in use: each may hold MaxDecompressedBytes
	fetching atomic.Int64
	sessions *fetchSessions
}

// New returns a handler.
func New(cfg Config) *Handler {
	if cfg.AdvertisedHost == "" {
		cfg.AdvertisedHost = "localhost"
	}
	if cfg.FetchMaxBytes == 0 {
		cfg.FetchMaxBytes = 55 << 20
	}
	if cfg.FetchOutstandingMax == 0 {
		cfg.FetchOutstandingMax = 128 << 20
	}
	if cfg.MaxDecompressedBytes == 0 {
		cfg.MaxDecompressedBytes = 64 << 20
	}
	if cfg.FetchSessions == 0 {
		cfg.FetchSessions = 1000
	}
	if cfg.FetchSessionBytes == 0 {
		cfg.FetchSessionBytes = 64 << 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Handler{cfg: cfg, handlers: handlers(), metrics: newMetrics(cfg.Metrics)}
	h.sessions = newFetchSessions(cfg.FetchSessions, cfg.FetchSessionBytes, cfg.Now)
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(h.sessions)
	}
	if cfg.Groups == nil {
		for key := range groupHandlers() {
			delete(h.handlers, key)
		}
	}
	if cfg.Transactions == nil {
		for key := range transactionHandlers() {
			delete(h.handlers, key)
		}
	}
	if cfg.Quotas == nil {
		delete(h.handlers, 48)
		delete(h.handlers, 49)
	}
	h.reading = make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	h.readers.New = func() any { return batch.NewReader(cfg.MaxDecompressedBytes) }
	return h
}

// Handle answers one request; see wire.Handler.
func (h *Handler) Handle(ctx context.Context, r *wire.Request) wire.Response {
	if r.Unsupported {
		return h.unsupported(r)
	}
	f, ok := h.handlers[r.Key]
	if !ok {
		return h.unsupported(r)
	}
	req := kmsg.RequestForKey(r.Key)
	req.SetVersion(r.Version)
	if err := req.ReadFrom(r.Body); err != nil {
		return wire.Response{Close: fmt.Sprintf("malformed %s v%d request: %v", kmsg.NameForKey(r.Key), r.Version, err)}
	}
	began := h.cfg.Now()
	return h.counted(r, h.throttled(r, f(h, ctx, r, req), began))
}

// unsupported closes the connection, as Kafka does; but ApiVersions is how a client finds out (KIP-511).
func (h *Handler) unsupported(r *wire.Request) wire.Response {
	if r.Key == keyApiVersions {
		return h.apiVersionsUnsupported()
	}
	return wire.Response{Close: fmt.Sprintf("unsupported request: %s (key %d) version %d", kmsg.NameForKey(r.Key), r.Key, r.Version)}
}

// counted counts the errors of an answer, once it is there.
func (h *Handler) counted(r *wire.Request, resp wire.Response) wire.Response {
	if resp.Message != nil {
		h.metrics.count(r.Key, resp.Message)
	}
	if finish := resp.Finish; finish != nil {
		resp.Finish = func(ctx context.Context) wire.Message {
			m := finish(ctx)
			if m != nil {
				h.metrics.count(r.Key, m)
			}
			return m
		}
	}
	return resp
}

// reader returns a reader of batches, and what gives it back.
func (h *Handler) reader() (*batch.Reader, func()) {
	h.reading <- struct{}{}
	r := h.readers.Get().(*batch.Reader)
	r.SetLimit(h.cfg.MaxDecompressedBytes)
	return r, func() {
		h.readers.Put(r)
		<-h.reading
	}
}

// nowMs is the broker's time in Unix milliseconds.
func (h *Handler) nowMs() int64 { return h.cfg.Now().UnixMilli() }

// noOperations stands for "authorized operations were not asked for".
const noOperations int32 = math.MinInt32

func ptr[T any](v T) *T { return &v }
