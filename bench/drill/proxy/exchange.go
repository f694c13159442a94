package proxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// frameBytesMax is more than either side sends in one frame.
	frameBytesMax = 256 << 20
	// requestsMax is how many requests of a connection may wait for their answers; then no more are read.
	requestsMax = 1024
)

var errFrame = errors.New("proxy: not a frame of the Kafka protocol")

// expected is an answer that is due, in the order of the requests.
type expected struct {
	correlation uint32
	key         kmsg.Key
	version     int16
	answer      []byte // whole frame of ours; nil: the broker's
}

// exchange passes frames on until either side ends. The error is a frame that could not be understood.
func (p *Proxy) exchange(down, up net.Conn) error {
	client := counted{down, &p.bytes}
	due := make(chan expected, requestsMax)
	failed := make(chan error, 1)
	p.serving.Go(func() {
		defer close(due)
		defer up.Close() // and so the answers end
		failed <- p.requests(client, up, due)
	})
	err := p.answers(client, up, due)
	down.Close() // and so the requests end
	for range due {
	}
	return errors.Join(err, <-failed)
}

// requests passes a client's requests on.
func (p *Proxy) requests(from io.Reader, to io.Writer, due chan<- expected) error {
	r := bufio.NewReader(from)
	for {
		frame, err := readFrame(r)
		if err != nil {
			return understood(err)
		}
		req, body, err := parseRequest(frame)
		if err != nil {
			return err
		}
		if req.key == kmsg.Produce {
			swallowed, silent, err := p.produce(&req, body)
			if err != nil {
				return err
			}
			if !silent {
				due <- req
			}
			if swallowed {
				continue
			}
		} else {
			due <- req
		}
		if _, err := to.Write(frame); err != nil {
			return nil // the broker has ended the connection
		}
	}
}

// answers passes the broker's answers on, and those that the proxy gives in its place.
func (p *Proxy) answers(to io.Writer, from io.Reader, due <-chan expected) error {
	r := bufio.NewReader(from)
	for next := range due {
		frame := next.answer
		if frame == nil {
			var err error
			if frame, err = readFrame(r); err != nil {
				return understood(err)
			}
			if len(frame) < 8 || binary.BigEndian.Uint32(frame[4:]) != next.correlation {
				return fmt.Errorf("%w: an answer to another request than %d", errFrame, next.correlation)
			}
			if frame, err = p.answer(&next, frame); err != nil {
				return err
			}
		}
		if _, err := to.Write(frame); err != nil {
			return nil // the client has ended the connection
		}
	}
	return nil
}

// understood drops the end of a connection, which is no frame that could not be understood.
func understood(err error) error {
	if errors.Is(err, errFrame) {
		return err
	}
	return nil
}

// readFrame reads one frame, its length in front.
func readFrame(from io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > frameBytesMax {
		return nil, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	frame := make([]byte, 4+n)
	copy(frame, size[:])
	_, err := io.ReadFull(from, frame[4:])
	return frame, err
}

// parseRequest reads a request's header and returns what follows it.
func parseRequest(frame []byte) (req expected, body []byte, err error) {
	if len(frame) < 4+10 {
		return req, nil, fmt.Errorf("%w: a request of %d bytes", errFrame, len(frame))
	}
	req.key = kmsg.Key(binary.BigEndian.Uint16(frame[4:]))
	req.version = int16(binary.BigEndian.Uint16(frame[6:]))
	req.correlation = binary.BigEndian.Uint32(frame[8:])
	id := int(int16(binary.BigEndian.Uint16(frame[12:])))
	body = frame[14:]
	if id > len(body) {
		return req, nil, fmt.Errorf("%w: a client id of %d bytes", errFrame, id)
	}
	body = body[max(id, 0):]
	kind := req.key.Request()
	if kind == nil {
		return req, body, nil // it is passed on all the same
	}
	kind.SetVersion(req.version)
	if kind.IsFlexible() {
		body, err = skipTags(body)
	}
	return req, body, err
}

// skipTags skips the tagged fields of a header.
func skipTags(b []byte) ([]byte, error) {
	number := func() (n uint64) {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			b = nil
			return 0
		}
		b = b[size:]
		return n
	}
	for tags := number(); tags > 0; tags-- {
		number() // which one
		size := number()
		if size > uint64(len(b)) {
			return nil, fmt.Errorf("%w: a tag of %d bytes in a header", errFrame, size)
		}
		b = b[size:]
	}
	return b, nil
}

// headSize is the size of an answer's length and header.
func headSize(resp kmsg.Response) int {
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) { // which is answered without tags in the header (KIP-511)
		return 4 + 4 + 1
	}
	return 4 + 4
}

// encode makes the frame of an answer.
func encode(correlation uint32, resp kmsg.Response) []byte {
	frame := make([]byte, headSize(resp))
	binary.BigEndian.PutUint32(frame[4:], correlation)
	frame = resp.AppendTo(frame)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}
