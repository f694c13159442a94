package main

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker"
)

// proxy stands between the tools and a node. It can withhold the requests of one API: the broker is there and does not answer; or
// hang up at every request: the broker is away.
type proxy struct {
	addr string

	mu       sync.Mutex
	withheld kmsg.Key
	away     bool
}

const nothingWithheld = kmsg.Key(-1)

// startBehindProxy is startNode with a proxy that the node's metadata name.
func startBehindProxy(t *testing.T) (*node, *proxy) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	n := startNodeWith(t, func(cfg *broker.Config) { cfg.AdvertisedAddr = listener.Addr().String() })
	p := &proxy{addr: listener.Addr().String(), withheld: nothingWithheld}
	broker := n.kafka
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			down, err := listener.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", broker)
			if err != nil {
				down.Close()
				return
			}
			serving.Go(func() {
				defer down.Close()
				_, _ = io.Copy(down, up) // ends with either connection
			})
			serving.Go(func() {
				defer up.Close()
				p.forward(up, down)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	n.kafka = p.addr
	return n, p
}

// forward passes requests on, one frame at a time, and drops what is withheld.
func (p *proxy) forward(to io.Writer, from io.Reader) {
	for {
		frame := make([]byte, 4)
		if _, err := io.ReadFull(from, frame); err != nil {
			return
		}
		frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
		if _, err := io.ReadFull(from, frame[4:]); err != nil {
			return
		}
		p.mu.Lock()
		drop, away := kmsg.Key(binary.BigEndian.Uint16(frame[4:])) == p.withheld, p.away
		p.mu.Unlock()
		if away {
			return
		}
		if drop {
			continue
		}
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}

func (p *proxy) withhold(key kmsg.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.withheld = key
}

func (p *proxy) hangUp(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}
