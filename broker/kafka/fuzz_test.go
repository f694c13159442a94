package kafka_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/proto/guard"
)

// FuzzRequest sends any body as a request of any API and version that is served, to a broker that has all of them. Whatever it is,
// the broker answers with something of that version, or closes the connection; nothing panics, and nothing is left running.
//
// Seeds are requests of each version of each API, with something in every field. What was found on the way is in testdata/fuzz.
func FuzzRequest(f *testing.F) {
	eachSeed(f, func(key, version int16, body []byte) { f.Add(key, version, body) })
	broker := startFuzzed(f)
	n := 0
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		low, high, ok := guard.Supported(key)
		if !ok || version < low || version > high || len(body) > 64<<10 {
			return
		}
		fuzzOne(t, broker.h, key, version, broker.real(bytes.Clone(body)), 50*time.Millisecond)
		if n++; n%100 == 0 {
			broker.furnish(t)
		}
	})
}

// neverWell are the APIs that no request is answered without an error code to: there is no authorizer, and nothing to elect or to move.
var neverWell = map[int16]bool{29: true, 30: true, 31: true}

// TestEveryVersionIsFuzzed: the seeds of FuzzRequest pass, and of each version of what is served one is answered, and one does what it says:
// a seed that is refused at the door would have the fuzzer look at the door only.
func TestEveryVersionIsFuzzed(t *testing.T) {
	broker := startFuzzed(t)
	type api struct{ key, version int16 }
	seen, well := map[api]bool{}, map[api]bool{}
	n := 0
	eachSeed(t, func(key, version int16, body []byte) {
		require.NoError(t, guard.Scan(key, version, body), "%s v%d", kmsg.NameForKey(key), version)
		resp := fuzzOne(t, broker.h, key, version, broker.real(body), time.Minute)
		if resp != nil {
			seen[api{key, version}] = true
			well[api{key, version}] = well[api{key, version}] || !hasError(reflect.ValueOf(resp).Elem())
		}
		if n++; n%seedsPerVersion == 0 {
			broker.furnish(t)
		}
	})
	require.Greater(t, len(seen), 200)
	for key := range int16(128) {
		low, high, ok := guard.Supported(key)
		if key == 0 {
			low = 3 // the others are offered only (KAFKA-18659)
		}
		for version := low; ok && version <= high; version++ {
			assert.True(t, seen[api{key, version}], "%s v%d: no seed is answered", kmsg.NameForKey(key), version)
			assert.True(t, neverWell[key] || well[api{key, version}], "%s v%d: each seed is answered with an error", kmsg.NameForKey(key), version)
		}
	}
}

// hasError reports whether any error code of an answer is set.
func hasError(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "ErrorCode" && v.Field(i).Int() != 0 || hasError(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if hasError(v.Index(i)) {
				return true
			}
		}
	}
	return false
}

// fuzzOne sends one request on a connection of its own, and returns the answer, or nil if there is none.
func fuzzOne(t testing.TB, h *kafka.Handler, key, version int16, body []byte, wait time.Duration) kmsg.Response {
	s := wire.New(wire.Config{Handler: h})
	client, server := net.Pipe()
	s.ServeConn(server)
	require.NoError(t, client.SetDeadline(time.Now().Add(wait))) // what waits for longer is not waited for
	answer := make(chan []byte, 1)
	go func() {
		var size [4]byte
		b := []byte(nil)
		if _, err := io.ReadFull(client, size[:]); err == nil {
			b = make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(client, b); err != nil {
				b = nil
			}
		}
		answer <- b
	}()
	client.Write(frame(key, version, body))
	got := <-answer
	client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, s.Close(ctx), "%s v%d: the connection does not end", kmsg.NameForKey(key), version)
	if got == nil {
		return nil
	}
	require.Equal(t, uint32(7), binary.BigEndian.Uint32(got))
	resp := kmsg.ResponseForKey(key)
	resp.SetVersion(version)
	if got = got[4:]; resp.IsFlexible() && key != 18 {
		require.Zero(t, got[0])
		got = got[1:]
	}
	require.NoError(t, resp.ReadFrom(got), "%s v%d: the answer cannot be read", kmsg.NameForKey(key), version)
	return resp
}

// frame puts a header and a size before a body.
func frame(key, version int16, body []byte) []byte {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	b := binary.BigEndian.AppendUint16([]byte{0, 0, 0, 0}, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = append(b, 0, 0, 0, 7, 0, 4, 'f', 'u', 'z', 'z')
	if req.IsFlexible() {
		b = append(b, 0)
	}
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}
