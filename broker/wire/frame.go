package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
)

// ProtocolError is what a peer did that ends its connection.
type ProtocolError struct {
	Reason string
	Err    error // may be nil
}

func (e *ProtocolError) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

func (e *ProtocolError) Unwrap() error { return e.Err }

var (
	errIdle     = errors.New("idle")
	errDraining = errors.New("server is closing")
)

// minFrameBytes is a request header without a client id: key, version, correlation id.
const minFrameBytes = 8

// frameSize decodes and checks a frame's size. What a TLS or HTTP client sends first reads as a size above any limit, so that
// its bytes can be told from a large frame.
func frameSize(head [4]byte, limit int, first bool) (int, error) {
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size >= minFrameBytes && int(size) <= limit {
		return int(size), nil
	}
	if first {
		if head[0] == 0x16 && head[1] == 0x03 {
			return 0, &ProtocolError{Reason: "a TLS client connected to the plaintext Kafka port: set security.protocol=PLAINTEXT in the client"}
		}
		if isHTTP(head) {
			return 0, &ProtocolError{Reason: "an HTTP client connected to the Kafka port: the state plane (HTTP) has a port of its own"}
		}
	}
	if size < minFrameBytes {
		return 0, &ProtocolError{Reason: fmt.Sprintf("a frame of %d bytes cannot hold a request", size)}
	}
	return 0, &ProtocolError{Reason: fmt.Sprintf("a frame of %d bytes is above the limit of %d bytes (first bytes %q)", size, limit, head[:])}
}

func isHTTP(head [4]byte) bool {
	switch string(head[:]) {
	case "GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI ":
		return true
	}
	return false
}

// logEnd says why a connection ended, loudly only when someone has to do something.
func logEnd(log *slog.Logger, protests *notices, err error) {
	var protocol *ProtocolError
	switch {
	case errors.As(err, &protocol):
		protests.warn(log, "Kafka connection closed", "reason", err.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, errDraining), errors.Is(err, context.Canceled):
		log.Debug("Kafka connection closed", "reason", "closed by the peer or the server")
	default:
		log.Debug("Kafka connection closed", "reason", err.Error())
	}
}

// countingReader counts the bytes that come in.
type countingReader struct {
	r     io.Reader
	count interface{ Add(float64) }
}

func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.count.Add(float64(n))
	return n, err
}
