package crash

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// faults is what a proxy does to requests, by chance.
type faults struct {
	lose  float64 // an EndTxn arrives, and its answer is lost with the connection
	delay float64 // an EndTxn arrives a little later
	late  float64 // a request of a transaction arrives once more, later, when the client has long gone on
}

// proxy stands between the clients and a broker, which it finds again at another address after each of its lives.
type proxy struct {
	listener net.Listener
	faults   faults
	done     chan struct{}
	serving  sync.WaitGroup

	mu       sync.Mutex
	upstream string // "": there is no broker
	conns    map[net.Conn]bool
	counts   tally
}

// tally is how many requests met each fault.
type tally struct{ lost, delayed, late int }

// The requests of a transaction, by API key.
const (
	keyProduce         = 0
	keyInitProducerID  = 22
	keyAddPartitions   = 24
	keyAddOffsets      = 25
	keyEndTxn          = 26
	keyTxnOffsetCommit = 28
)

func startProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, done: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.serving.Go(p.serve)
	t.Cleanup(func() {
		close(p.done)
		l.Close()
		p.connectTo("")
		p.serving.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// connectTo sends new connections to another broker, and ends those to the one before.
func (p *proxy) connectTo(upstream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upstream = upstream
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) setFaults(f faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

func (p *proxy) serve() {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		up, ok := p.dial(down)
		if !ok {
			down.Close()
			continue
		}
		lose := make(chan struct{})
		p.serving.Go(func() {
			p.answers(down, up, lose)
			p.forget(down, up)
		})
		p.serving.Go(func() {
			p.requests(up, down, lose)
			p.forget(down, up)
		})
	}
}

// dial connects to the broker, and remembers both ends.
func (p *proxy) dial(down net.Conn) (net.Conn, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.upstream == "" {
		return nil, false
	}
	up, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return nil, false
	}
	p.conns[up], p.conns[down] = true, true
	return up, true
}

func (p *proxy) forget(down, up net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range []net.Conn{down, up} {
		c.Close()
		delete(p.conns, c)
	}
}

// answers passes the broker's answers on, until they are to be lost: the next one is taken, and the connection is closed.
func (p *proxy) answers(down, up net.Conn, lose chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := up.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-lose:
			return
		default:
		}
		if _, err := down.Write(buf[:n]); err != nil {
			return
		}
	}
}

// requests passes requests on, one frame at a time.
func (p *proxy) requests(up, down net.Conn, lose chan struct{}) {
	for {
		frame := make([]byte, 4)
		if _, err := io.ReadFull(down, frame); err != nil {
			return
		}
		frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
		if _, err := io.ReadFull(down, frame[4:]); err != nil {
			return
		}
		p.mu.Lock()
		f := p.faults
		p.mu.Unlock()
		switch key := binary.BigEndian.Uint16(frame[4:]); key {
		case keyEndTxn:
			switch x := rand.Float64(); {
			case x < f.lose:
				p.count(func() { p.counts.lost++ })
				select {
				case <-lose:
				default:
					close(lose)
				}
			case x < f.lose+f.delay:
				p.count(func() { p.counts.delayed++ })
				p.sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
			}
			fallthrough
		case keyProduce, keyInitProducerID, keyAddPartitions, keyAddOffsets, keyTxnOffsetCommit:
			if rand.Float64() < f.late {
				p.serving.Go(func() { p.arriveLate(frame, time.Duration(rand.IntN(800))*time.Millisecond) })
			}
		}
		if _, err := up.Write(frame); err != nil {
			return
		}
	}
}

// arriveLate sends a request on a connection of its own, to the broker that is there by then, and takes no notice of the answer.
func (p *proxy) arriveLate(frame []byte, after time.Duration) {
	if !p.sleep(after) {
		return
	}
	p.mu.Lock()
	upstream := p.upstream
	p.mu.Unlock()
	c, err := net.Dial("tcp", upstream)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write(frame); err != nil {
		return
	}
	_, _ = io.ReadFull(c, make([]byte, 8)) // it was handled
	p.count(func() { p.counts.late++ })
}

// met is what the requests met so far: late ones may still be on their way.
func (p *proxy) met() tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

func (p *proxy) count(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// sleep is false when the proxy ends meanwhile. Being late is what a proxy is for; no test waits for it.
func (p *proxy) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-p.done:
		return false
	}
}
