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

// proxy stands between the tools and a node. It can withhold the requests of one API: the broker is there and does not answer; hang up at
// every request: the broker is away; or change the answers to offset commits: the broker's disk is full.
type proxy struct {
	addr string

	mu       sync.Mutex
	withheld kmsg.Key
	away     bool
	commits  int16 // the code that offset commits are answered with; 0: as the broker does
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
			asked := make(chan commitAsked, 100)
			serving.Go(func() {
				defer down.Close()
				p.answer(down, up, asked) // ends with either connection
			})
			serving.Go(func() {
				defer up.Close()
				p.forward(up, down, asked)
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

// commitAsked is an offset commit that has not been answered.
type commitAsked struct {
	correlation uint32
	version     int16
}

func readSized(from io.Reader) (frame []byte, err error) {
	frame = make([]byte, 4)
	if _, err := io.ReadFull(from, frame); err != nil {
		return nil, err
	}
	frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
	_, err = io.ReadFull(from, frame[4:])
	return frame, err
}

// answer passes answers on, which come in the order of the requests.
func (p *proxy) answer(to io.Writer, from io.Reader, asked <-chan commitAsked) {
	var next commitAsked
	for {
		frame, err := readSized(from)
		if err != nil {
			return
		}
		if next == (commitAsked{}) {
			select {
			case next = <-asked:
			default:
			}
		}
		if next != (commitAsked{}) && next.correlation == binary.BigEndian.Uint32(frame[4:]) {
			frame = p.changeCommit(frame, next.version)
			next = commitAsked{}
		}
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}

// changeCommit puts the code into the answer to an offset commit.
func (p *proxy) changeCommit(frame []byte, version int16) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	resp := &kmsg.OffsetCommitResponse{Version: version}
	head := 8
	if resp.IsFlexible() {
		head++
	}
	if p.commits == 0 || resp.ReadFrom(frame[head:]) != nil {
		return frame
	}
	for _, rt := range resp.Topics {
		for i := range rt.Partitions {
			rt.Partitions[i].ErrorCode = p.commits
		}
	}
	frame = resp.AppendTo(frame[:head:head])
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

func (p *proxy) refuseCommits(code int16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commits = code
}

// forward passes requests on, one frame at a time, and drops what is withheld.
func (p *proxy) forward(to io.Writer, from io.Reader, asked chan<- commitAsked) {
	for {
		frame, err := readSized(from)
		if err != nil {
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
		if kmsg.Key(binary.BigEndian.Uint16(frame[4:])) == kmsg.OffsetCommit {
			asked <- commitAsked{binary.BigEndian.Uint32(frame[8:]), int16(binary.BigEndian.Uint16(frame[6:]))}
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
