package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

// Config of a Server. Only Handler is required; a zero takes the default.
type Config struct {
	Handler Handler

	// Admit is asked for each connection. One that it refuses is closed, after the time it says (KIP-612). nil: all are admitted.
	Admit func(remote net.Addr) (closeAfter time.Duration, ok bool)

	MaxFrameBytes   int           // of a request; 100 MiB (Kafka's socket.request.max.bytes)
	MaxConnections  int           // 10,000; above it new connections are closed
	MaxConnsPerIP   int           // from one address (max.connections.per.ip); no bound of its own
	MaxConnBytes    int           // of the requests in work on one connection, one request always passes; 32 MiB
	MaxConnRequests int           // in work on one connection; 64
	MaxConnAnswers  int           // bytes of the answers that wait on one connection for earlier ones to be taken, one always passes; 256 KiB
	MaxRequestBytes int64         // of the requests in work on all connections, and a quarter of it for those on their way; 256 MiB
	IdleTimeout     time.Duration // without a request and without an answer due; 10 min (connections.max.idle.ms)
	ReadTimeout     time.Duration // for a frame to arrive, and a second more for each MiB, unless it stalls and others wait for room; 30 s
	WriteTimeout    time.Duration // for the peer to take 1 MiB of an answer; 60 s
	Now             func() time.Time
	Logger          *slog.Logger
	Metrics         prometheus.Registerer // nil: not registered
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxFrameBytes, 100<<20)
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxConnBytes, 32<<20)
	setDefault(&c.MaxConnRequests, 64)
	setDefault(&c.MaxConnAnswers, 256<<10)
	setDefault(&c.MaxRequestBytes, 256<<20)
	setDefault(&c.IdleTimeout, 10*time.Minute)
	setDefault(&c.ReadTimeout, 30*time.Second)
	setDefault(&c.WriteTimeout, time.Minute)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// ErrServerClosed is what Serve returns after Close.
var ErrServerClosed = errors.New("wire: server is closed")

// Server serves Kafka connections.
type Server struct {
	cfg      Config
	metrics  *metrics
	budget   *semaphore.Weighted // bytes of requests in work, all connections
	arriving *arrivals
	refusals notices // of connections
	protests notices // about what peers sent

	ctx      context.Context // of all connections
	cancel   context.CancelFunc
	draining chan struct{}
	lastConn atomic.Uint64
	running  sync.WaitGroup // accept loops and connections

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	perIP     map[string]int           // connections; only if they are bounded
	refused   map[net.Conn]*time.Timer // to be closed a little later
}

// New returns a server; Serve starts it.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		cfg: cfg, metrics: newMetrics(cfg.Metrics), budget: semaphore.NewWeighted(cfg.MaxRequestBytes),
		arriving: newArrivals(cfg.MaxRequestBytes / 4), refusals: notices{now: cfg.Now}, protests: notices{now: cfg.Now},
		ctx: ctx, cancel: cancel, draining: make(chan struct{}),
		listeners: map[net.Listener]struct{}{}, conns: map[*Conn]struct{}{},
		perIP: map[string]int{}, refused: map[net.Conn]*time.Timer{},
	}
}

// Serve accepts connections until Close, which closes the listener; then it returns ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		l.Close()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	const pauseMax = time.Second
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.ServeConn(nc)
			continue
		}
		if s.isClosed() {
			return ErrServerClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept Kafka connections: %w", err)
		}
		// Out of file descriptors, or a peer that was gone already: go on, but do not spin.
		pause = min(max(2*pause, 5*time.Millisecond), pauseMax)
		s.cfg.Logger.Warn("cannot accept a Kafka connection", "error", err, "retry_in", pause)
		select {
		case <-time.After(pause):
		case <-s.draining:
		}
	}
}

// ServeConn takes over one connection and returns at once; a refused one is closed.
func (s *Server) ServeConn(nc net.Conn) {
	c, ip, err := s.admit(nc)
	if err != nil {
		defer nc.Close()
		if refused := (*refusedError)(nil); errors.As(err, &refused) {
			s.metrics.refused.Inc()
			s.refusals.warn(s.cfg.Logger, "Kafka connection refused: "+refused.reason, "remote", nc.RemoteAddr(), "max", refused.max)
		}
		return
	}
	if c == nil {
		return // closed later
	}
	s.metrics.connections.Inc()
	go func() {
		defer s.running.Done()
		c.serve()
		s.metrics.connections.Dec()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		if s.cfg.MaxConnsPerIP > 0 {
			if s.perIP[ip]--; s.perIP[ip] == 0 {
				delete(s.perIP, ip)
			}
		}
	}()
}

// Close stops accepting and reading, lets the answers in work go out until ctx is done, closes all connections and waits for
// every goroutine of the server.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	for nc, timer := range s.refused {
		timer.Stop()
		nc.Close()
		delete(s.refused, nc)
	}
	s.mu.Unlock()
	if first {
		close(s.draining)
	}
	for _, c := range conns {
		c.stopReading()
	}
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("Kafka connections cut with answers in work: %w", ctx.Err())
		for _, c := range conns {
			c.nc.Close()
		}
	}
	s.cancel()
	<-done
	return err
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
