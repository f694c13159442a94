package kafka_test

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/proto/guard"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// FuzzRequest sends any body as a request of any API and version that is served, to a broker with topics, groups and quotas. Whatever it is,
// the broker answers with something of that version, or closes the connection; nothing panics, and nothing is left running.
//
// Seeds are a request of each version of each API, with something in every field. What was found on the way is in testdata/fuzz.
func FuzzRequest(f *testing.F) {
	eachVersion(f, func(key, version int16, body []byte) { f.Add(key, version, body) })
	handler, clean := fuzzBroker(f)
	n := 0
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		low, high, ok := guard.Supported(key)
		if !ok || version < low || version > high || len(body) > 64<<10 {
			return
		}
		fuzzOne(t, handler, key, version, body)
		if n++; n%100 == 0 {
			clean(t)
		}
	})
}

// TestEveryVersionIsFuzzed: the seeds of FuzzRequest pass, and there is one for each version of what is served.
func TestEveryVersionIsFuzzed(t *testing.T) {
	handler, _ := fuzzBroker(t)
	seeds := 0
	eachVersion(t, func(key, version int16, body []byte) {
		require.NoError(t, guard.Scan(key, version, body), "%s v%d", kmsg.NameForKey(key), version)
		fuzzOne(t, handler, key, version, body)
		seeds++
	})
	require.Greater(t, seeds, 120)
}

// eachVersion makes a request of each version that is served.
func eachVersion(t testing.TB, visit func(key, version int16, body []byte)) {
	for key := range int16(128) {
		low, high, ok := guard.Supported(key)
		for version := low; ok && version <= high; version++ {
			req := kmsg.RequestForKey(key)
			require.NotNil(t, req, "API %d", key)
			fill(rand.New(rand.NewPCG(uint64(key), uint64(version))), reflect.ValueOf(req).Elem())
			req.SetVersion(version)
			visit(key, version, req.AppendTo(nil))
		}
	}
}

// fill sets every field to something small; times are short, so that what waits does not wait long.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; v.Type().Field(i).IsExported() && name != "Version" && name != "UnknownTags" {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Slice:
		n := 1 + r.IntN(2)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString([]string{"topic", "group", "range", "consumer", "1", "user"}[r.IntN(6)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(128)))
	case reflect.Float64:
		v.SetFloat(float64(1 + r.IntN(100)))
	default:
		v.SetInt(int64(r.IntN(4)))
	}
}

// fuzzBroker has a topic in it; clean deletes what requests have made.
func fuzzBroker(t testing.TB) (_ *kafka.Handler, clean func(testing.TB)) {
	var h *kafka.Handler
	b := startOwn(t, options{kafka: func(cfg *kafka.Config) {
		c := cfg.Producers.(*catalog.Catalog)
		var err error
		cfg.Quotas, err = quota.Open(quota.Config{Store: c})
		require.NoError(t, err)
		settings := group.DefaultSettings()
		settings.InitialRebalanceDelay = 0
		cfg.Groups, err = group.Open(group.Config{Settings: settings, Store: c, TopicExists: func(string) bool { return true }})
		require.NoError(t, err)
		groups := cfg.Groups
		t.Cleanup(func() { require.NoError(t, groups.Close()) })
		h = kafka.New(*cfg)
	}})
	topic := func(t testing.TB) {
		c := b.Dial(t)
		defer c.Close()
		raw.CreateNamed(c, "topic", 2)
	}
	topic(t)
	return h, func(t testing.TB) {
		for _, x := range b.registry.List() {
			require.NoError(t, b.registry.Delete(context.Background(), x.Name))
		}
		topic(t)
	}
}

// fuzzOne sends one request on a connection of its own.
func fuzzOne(t testing.TB, h *kafka.Handler, key, version int16, body []byte) {
	s := wire.New(wire.Config{Handler: h})
	client, server := net.Pipe()
	s.ServeConn(server)
	require.NoError(t, client.SetDeadline(time.Now().Add(50*time.Millisecond))) // what waits for longer is not waited for
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
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, s.Close(ctx), "%s v%d: the connection does not end", kmsg.NameForKey(key), version)
	if got == nil {
		return
	}
	require.Equal(t, uint32(7), binary.BigEndian.Uint32(got))
	resp := kmsg.ResponseForKey(key)
	resp.SetVersion(version)
	if got = got[4:]; resp.IsFlexible() && key != 18 {
		require.Zero(t, got[0])
		got = got[1:]
	}
	require.NoError(t, resp.ReadFrom(got), "%s v%d: the answer cannot be read", kmsg.NameForKey(key), version)
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
