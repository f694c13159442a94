package broker

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
)

// gate lets what a broker answers through while it is open.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while it is open
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	return &gatedConn{c, g}, err
}

type gatedConn struct {
	net.Conn
	g *gate
}

func (c *gatedConn) Read(b []byte) (int, error) {
	c.g.mu.Lock()
	open := c.g.open
	c.g.mu.Unlock()
	<-open
	return c.Conn.Read(b)
}

// A replica that reads a log from its beginning, a batch at a time, has no lease. Where the log is trimmed faster than it reads it is told so, each time,
// and given what changed; it never goes on behind a gap.
func TestEarliestBesideATrimmer(t *testing.T) {
	eachStore(t, func(t *testing.T, store client.Store) {
		b := startBroker(t)
		l := b.ledger(t, map[string]string{"keyframe.delta.retention.ms": "0", "keyframe.delta.retention.bytes": "0", "min.compaction.lag.ms": "0"})
		write := func() {
			for i := range 20 {
				l.add(0, change{fmt.Sprint("k", i%5), 1}, change{"all", 1})
			}
		}
		write()
		var s told
		g := newGate()
		r, err := client.OpenReplica(t.Context(), client.Config{
			Brokers: []string{b.KafkaAddr().String()}, StateURL: "http://" + b.StateAddr().String(), Topic: "ledger", Store: store,
			From: client.FromEarliest, KafkaOptions: []kgo.Opt{kgo.Dialer(g.dial), kgo.FetchMaxBytes(1), kgo.FetchMaxPartitionBytes(1)},
			OnEvent: s.event,
			OnVerdict: func(v client.Verdict) {
				if v.Outcome == client.Drifted {
					t.Errorf("%+v", v)
				}
			},
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		for round := 1; round <= 3; round++ {
			g.shut()
			write()
			require.Eventually(t, func() bool { // until all that it has not read yet is trimmed but the last batch
				_, err := b.keyframer.Cut(t.Context(), "ledger")
				require.NoError(t, err)
				l.add(0, change{"all", 1})
				return l.p.Bounds().DeltaStart > r.Positions()[0].Offset+1
			}, guard, 10*time.Millisecond)
			overtaken := s.count(client.OutOfRange)
			g.lift()
			require.Equal(t, l.committed, l.state(&follower{Replica: r}))
			current := func() int { return s.count(client.CaughtUp) + s.count(client.Bootstrapped) - 1 }
			s.await(t, func() bool { return current() >= round })
			require.Equal(t, round, current(), "%v", &s)
			require.Equal(t, overtaken+1, s.count(client.OutOfRange), "%v", &s)
		}
		require.Equal(t, client.Equal, r.Verify(t.Context())[0].Outcome)
	})
}
