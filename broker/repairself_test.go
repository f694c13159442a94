package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
)

// forger dials a broker and replaces bytes in what it answers, by others of the same length.
type forger struct{ old, forged []byte }

func (f forger) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	return &forgedConn{Conn: c, forger: f}, err
}

// forgedConn hands on whole answers.
type forgedConn struct {
	net.Conn
	forger
	left []byte
}

func (c *forgedConn) Read(b []byte) (int, error) {
	if len(c.left) == 0 {
		var size [4]byte
		if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
			return 0, err
		}
		answer := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
		copy(answer, size[:])
		if _, err := io.ReadFull(c.Conn, answer[4:]); err != nil {
			return 0, err
		}
		c.left = bytes.ReplaceAll(answer, c.old, c.forged)
	}
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

// A replica whose records are changed on their way finds it at the next key frame, and puts right exactly what differs, from the broker's sketch.
func TestReplicaRepairsItself(t *testing.T) {
	eachStore(t, func(t *testing.T, store client.Store) {
		b := startBroker(t)
		l := b.ledger(t, map[string]string{"keyframe.interval.ms": "3600000"})
		for i := range 50 {
			l.add(0, change{fmt.Sprintf("key-%03d", i), i}, change{fmt.Sprintf("other-%03d", i), i})
		}
		_, err := b.keyframer.Cut(t.Context(), "ledger")
		require.NoError(t, err)

		var mu sync.Mutex
		var keys []string
		repaired, refused := make(chan client.Event, 8), make(chan client.Event, 8)
		f := forger{[]byte("key-007"), []byte("nobody7")}
		r, err := client.OpenReplica(t.Context(), client.Config{
			Brokers: []string{b.KafkaAddr().String()}, StateURL: "http://" + b.StateAddr().String(), Topic: "ledger", Store: store,
			KafkaOptions: []kgo.Opt{kgo.Dialer(f.dial), kgo.DisableFetchCRCValidation()},
			OnEvent: func(e client.Event) {
				switch e.Kind {
				case client.Repaired:
					repaired <- e
				case client.RepairFailed, client.RepairRefused:
					refused <- e
				}
			},
			OnDifference: func(d client.Difference) {
				mu.Lock()
				defer mu.Unlock()
				keys = append(keys, string(d.Key))
			},
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()

		l.add(0, change{"key-006", 1}, change{"key-007", 1}, change{"key-008", 1})
		end := l.p.Bounds().LastStable
		ctx, cancel := context.WithTimeout(t.Context(), guard)
		defer cancel()
		require.NoError(t, r.WaitFor(ctx, 0, end))
		_, err = b.keyframer.Cut(t.Context(), "ledger")
		require.NoError(t, err)
		select {
		case e := <-repaired:
			require.Equal(t, client.BySketch, e.Repair.Method)
			require.EqualValues(t, 2, e.Repair.Keys)
			require.LessOrEqual(t, e.Repair.Bytes, int64(4<<10))
			require.LessOrEqual(t, e.Repair.RoundTrips, 3)
		case e := <-refused:
			t.Fatalf("%+v", e)
		case <-ctx.Done():
			t.Fatal("nothing was repaired")
		}
		mu.Lock()
		require.Equal(t, []string{"key-007", "nobody7"}, keys)
		mu.Unlock()
		l.add(0, change{"key-008", 1})
		require.NoError(t, r.WaitFor(ctx, 0, l.p.Bounds().LastStable))
		require.Equal(t, client.Equal, r.Verify(ctx)[0].Outcome)
		require.Equal(t, l.committed, l.state(&follower{Replica: r}))
	})
}
