package state

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/lease"
	"github.com/keyframelog/keyframe/broker/repair"
	"github.com/keyframelog/keyframe/broker/replicas"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// Config of a Server. Keyframer, Replicas, Repairs and Leases are required; zero values of the rest mean the defaults.
type Config struct {
	Keyframer *keyframer.Keyframer
	Replicas  *replicas.Registry // keeps what replicas report, and says which partitions are disputed
	Repairs   *repair.Desk       // answers Sketch, Resolve and Tags
	Leases    *lease.Desk        // what replicas hold, and what the Keyframer asks
	// TopicExists tells a topic that is not key-framed from one that does not exist. Nil: none exists.
	TopicExists func(name string) bool
	// Hosts are names of this server beside localhost and the loopback addresses, without ports.
	Hosts []string
	// WaitTimeout bounds how long a read waits for the keyframer. Default 10 s.
	WaitTimeout time.Duration
	// Scans bounds how many scans, exports and frames are streamed at once. Default 64.
	Scans int
	// ScanTime bounds one of them, because it pins files. Default 15 min; frames can be resumed.
	ScanTime time.Duration
	// Watches bounds how many watches are open at once. Default 1024.
	Watches int
	// StallTime bounds how long one write to a client may take. Default 30 s.
	StallTime time.Duration
	// Alive is for how long a stream that has nothing to tell is silent before it says so. Default 10 s.
	Alive time.Duration
	// Ready are the conditions of /readyz beside the partitions, for example the disk reserve.
	Ready   []Check
	Gather  prometheus.Gatherer   // of /metrics; nil: no /metrics
	Metrics prometheus.Registerer // nil: not registered
	Now     func() time.Time
	Logger  *slog.Logger
}

// Check is one condition of readiness.
type Check struct {
	Name  string
	Check func() error
}

const (
	defaultWaitTimeout = 10 * time.Second
	defaultScans       = 64
	defaultScanTime    = 15 * time.Minute
	defaultWatches     = 1024
	defaultStallTime   = 30 * time.Second
	defaultAlive       = 10 * time.Second

	headerTimeout  = 10 * time.Second
	readTimeout    = 30 * time.Second // of a whole request; they are small
	idleTimeout    = 2 * time.Minute
	headerBytesMax = 16 << 10
	// Of a request message. Resolve has the largest: tags of 8 bytes, in JSON as base64.
	messageBytesMax = (8*resolveMax+2)/3*4 + 16<<10
	streamsMax      = 256 // of one HTTP/2 connection
	watchReadsMax   = 8   // watches that read log or table at a time
)

func (c Config) withDefaults() Config {
	setDefault(&c.WaitTimeout, defaultWaitTimeout)
	setDefault(&c.Scans, defaultScans)
	setDefault(&c.ScanTime, defaultScanTime)
	setDefault(&c.Watches, defaultWatches)
	setDefault(&c.StallTime, defaultStallTime)
	setDefault(&c.Alive, defaultAlive)
	if c.TopicExists == nil {
		c.TopicExists = func(string) bool { return false }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// Server is the state plane.
type Server struct {
	cfg     Config
	http    *http.Server
	metrics *serverMetrics
	scans   chan struct{} // a token for each scan that may start
	sizes   *sizes
	started chan struct{}
	start   sync.Once
	closing chan struct{} // closed when streams without an end have to end
	close   sync.Once

	watches, watchReads chan struct{} // tokens as scans
}

// New returns a server; Serve starts it.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, scans: make(chan struct{}, cfg.Scans), sizes: newSizes(), metrics: newServerMetrics(cfg.Metrics),
		started: make(chan struct{}), closing: make(chan struct{}),
		watches: make(chan struct{}, cfg.Watches), watchReads: make(chan struct{}, watchReadsMax),
	}
	for _, tokens := range []chan struct{}{s.scans, s.watches, s.watchReads} {
		for range cap(tokens) {
			tokens <- struct{}{}
		}
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:           s.Handler(),
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streamsMax},
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Handler returns the routes, behind the guard.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	calls := &service{Server: s}
	path, service := stateconnect.NewStateServiceHandler(calls, connect.WithReadMaxBytes(messageBytesMax))
	mux.Handle(path, service)
	mux.HandleFunc("GET /v1/topics/{topic}/rows", calls.rowLines)
	mux.HandleFunc("GET /v1/topics/{topic}/diff", calls.diffLines)
	mux.HandleFunc("GET /v1/topics/{topic}/history", calls.historyLines)
	mux.HandleFunc("GET /v1/topics/{topic}/partitions/{partition}/frames/{cut}", s.frame)
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	if s.cfg.Gather != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Gather, promhttp.HandlerOpts{}))
	}
	return s.guard(s.pace(mux))
}

// SetReady says that the broker has started: /readyz may answer 200 from now on.
func (s *Server) SetReady() { s.start.Do(func() { close(s.started) }) }

// Serve answers requests on l until Shutdown, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown ends streams without an end, waits for the other requests as long as ctx allows, and then cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close.Do(func() { close(s.closing) })
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// scan admits one scan, or not. Call the returned function when it ends.
func (s *Server) scan(parent context.Context) (ctx context.Context, end func(), ok bool) {
	select {
	case <-s.scans:
	default:
		s.metrics.refusedScans.Inc()
		return nil, nil, false
	}
	ctx, cancel := context.WithTimeout(parent, s.cfg.ScanTime)
	return ctx, func() {
		cancel()
		s.scans <- struct{}{}
	}, true
}
