package guard

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets every exported field to something random, arrays of up to three elements.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Type().Field(i).IsExported() && name != "Version" && name != "UnknownTags" {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case reflect.Slice:
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString("name"[:r.IntN(5)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(float64(r.IntN(100)))
	case reflect.Uint8:
		v.SetUint(r.Uint64() & 0x7f)
	default:
		v.SetInt(int64(r.IntN(100)))
	}
}

func eachVersion(t testing.TB, fn func(r *request, version int16, body []byte)) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, r := range schemas() {
		for version := r.min; version <= r.max; version++ {
			for range 50 {
				req := kmsg.RequestForKey(r.key)
				fill(random, reflect.ValueOf(req).Elem())
				req.SetVersion(version)
				require.Equal(t, version >= r.flexible, req.IsFlexible(), "%s v%d", r.name, version)
				fn(&r, version, req.AppendTo(nil))
			}
		}
	}
}

// What kmsg writes is walked to its very last byte, and no part of it passes for a whole.
func TestWalkEqualsKmsg(t *testing.T) {
	checked := 0
	eachVersion(t, func(r *request, version int16, body []byte) {
		w := walker{b: body, version: version, flexible: version >= r.flexible, memory: 1 << 30, elements: ElementsMax}
		w.fields(r.fields)
		w.tags(r.tagged)
		require.Empty(t, w.failed, "%s v%d: %x", r.name, version, body)
		require.Empty(t, w.b, "%s v%d leaves bytes of %x", r.name, version, body)
		require.NoError(t, Scan(r.key, version, body))
		for n := range body {
			require.ErrorIs(t, Scan(r.key, version, body[:n]), ErrMalformed, "%s v%d cut to %d of %d", r.name, version, n, len(body))
		}
		checked++
	})
	require.Greater(t, checked, 5000)
}

// A body of a few bytes that names four billion tags kept kmsg busy for half a minute.
func TestTagBomb(t *testing.T) {
	bomb := []byte{2, 'a', 2, 'b', 0xff, 0xff, 0xff, 0xff, 0x0f}
	require.ErrorIs(t, Scan(18, 3, bomb), ErrMalformed)

	frame := binary.BigEndian.AppendUint16(nil, 18)
	frame = append(frame, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f)
	_, _, err := ParseHeader(frame)
	require.ErrorIs(t, err, ErrMalformed)
}

// The same bomb inside a tag that kmsg decodes: replica_state of Fetch.
func TestTagBombInsideATag(t *testing.T) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(15)
	body := req.AppendTo(nil)
	body = body[:len(body)-1] // no tags
	state := append(make([]byte, 12), 0xff, 0xff, 0xff, 0xff, 0x0f)
	body = append(append(body, 1, 1, byte(len(state))), state...)
	require.ErrorIs(t, Scan(1, 15, body), ErrMalformed)
}

func TestHostileLengths(t *testing.T) {
	for name, x := range map[string]struct {
		key, version int16
		body         []byte
	}{
		"array count beyond the bytes":          {3, 1, []byte{0x7f, 0xff, 0xff, 0xff}},
		"negative array count":                  {3, 1, []byte{0xff, 0xff, 0xff, 0xfe}},
		"string longer than the bytes":          {3, 1, []byte{0, 0, 0, 1, 0x7f, 0xff, 'a'}},
		"compact length of five bytes and more": {15, 5, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
		"many empty structures":                 {3, 9, append([]byte{0x81, 0x80, 0x40}, make([]byte, 1<<20)...)},
	} {
		require.ErrorIs(t, Scan(x.key, x.version, x.body), ErrMalformed, name)
	}
	require.ErrorIs(t, Scan(99, 0, nil), ErrUnsupported)
	require.ErrorIs(t, Scan(3, 14, nil), ErrUnsupported)
}

func TestParseHeader(t *testing.T) {
	for _, x := range []struct {
		version int16
		client  []byte
		tags    []byte
		want    string
	}{
		{0, []byte{0, 3, 'a', 'b', 'c'}, nil, "abc"},
		{0, []byte{0xff, 0xff}, nil, ""},
		{3, []byte{0, 3, 'a', 'b', 'c'}, []byte{1, 7, 2, 'x', 'y'}, "abc"},
	} {
		frame := append([]byte{0, 18, 0, byte(x.version), 0, 0, 0, 9}, x.client...)
		frame = append(append(frame, x.tags...), "body"...)
		h, body, err := ParseHeader(frame)
		require.NoError(t, err)
		require.Equal(t, Header{Key: 18, Version: x.version, CorrelationID: 9, ClientID: x.want}, h)
		require.Equal(t, "body", string(body))
	}
	_, _, err := ParseHeader([]byte{0, 18, 0})
	require.ErrorIs(t, err, ErrMalformed)
}

// Whatever passes, kmsg decodes without allocating out of proportion.
func FuzzScan(f *testing.F) {
	for _, r := range schemas() {
		for version := r.min; version <= r.max; version++ {
			req := kmsg.RequestForKey(r.key)
			fill(rand.New(rand.NewPCG(uint64(version), uint64(r.key))), reflect.ValueOf(req).Elem())
			req.SetVersion(version)
			f.Add(r.key, version, req.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		if Scan(key, version, body) != nil {
			return
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := req.ReadFrom(bytes.Clone(body))
		runtime.ReadMemStats(&after)
		if err == nil {
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16*len(body)+4*memorySlack))
		}
	})
}

func BenchmarkScan(b *testing.B) {
	req := kmsg.NewPtrProduceRequest()
	fill(rand.New(rand.NewPCG(1, 2)), reflect.ValueOf(req).Elem())
	req.SetVersion(9)
	body := req.AppendTo(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := Scan(0, 9, body); err != nil {
			b.Fatal(err)
		}
	}
}
