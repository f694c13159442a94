package guard

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hostile writes a request out of its layout: as small as it can be, but for one array, or one structure's tags, that takes as many
// elements as the bytes allow.
type hostile struct {
	version  int16
	flexible bool
	target   *field // of this array
	tags     *field // of the elements of this array; the outermost structure's if it is nil and target too
	many     int
	text     int // bytes in each string

}

func (h *hostile) count(n int) []byte {
	if h.flexible {
		return binary.AppendUvarint(nil, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(nil, uint32(n))
}

func (h *hostile) fields(dst []byte, fields []field, on []*field) []byte {
	for i := range fields {
		f := &fields[i]
		if h.version < f.from || h.version > f.to {
			continue
		}
		switch f.kind {
		case fixed:
			dst = append(dst, make([]byte, f.size)...)
		case text:
			if h.flexible {
				dst = binary.AppendUvarint(dst, uint64(h.text)+1)
			} else {
				dst = binary.BigEndian.AppendUint16(dst, uint16(h.text))
			}
			dst = append(dst, make([]byte, h.text)...)
		case blob:
			dst = append(dst, h.count(0)...)
		case array:
			n := 0
			if slices.Contains(on, f) {
				n = 1
			}
			if f == h.target {
				n = h.many
			}
			dst = append(dst, h.count(n)...)
			for range n {
				dst = h.fields(dst, f.elem, on)
				if !f.isScalar() {
					tags := 0
					if f == h.tags {
						tags = h.many
						if h.target != nil {
							tags = 1 // in each of many structures
						}
					}
					dst = h.tagged(dst, tags)
				}
			}
		}
	}
	return dst
}

// tagged writes tags that nobody knows.
func (h *hostile) tagged(dst []byte, n int) []byte {
	if !h.flexible {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range n {
		dst = append(binary.AppendUvarint(dst, uint64(i)+50), 0)
	}
	return dst
}

// arrays lists every array of a version with those that it lies in.
func arrays(fields []field, version int16, above []*field) (paths [][]*field) {
	for i := range fields {
		f := &fields[i]
		if f.kind == array && version >= f.from && version <= f.to {
			path := append(slices.Clone(above), f)
			paths = append(append(paths, path), arrays(f.elem, version, path)...)
		}
	}
	return paths
}

// decoded is what kmsg allocates for a body, in bytes.
func decoded(t testing.TB, key, version int16, body []byte) uint64 {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := req.ReadFrom(body)
	runtime.ReadMemStats(&after)
	require.NoError(t, err, "%s v%d: what passes can be decoded", kmsg.NameForKey(key), version)
	runtime.KeepAlive(req)
	return after.TotalAlloc - before.TotalAlloc
}

// The worst that passes decodes to at most eight times its bytes and 64 KiB: every array, and every structure's tags, as full as they
// are let through.
func TestWorstMemory(t *testing.T) {
	worst, worstWhat := 0.0, ""
	for _, r := range schemas() {
		for version := r.min; version <= r.max; version++ {
			h := hostile{version: version, flexible: version >= r.flexible}
			var cases []hostile
			on := map[int][]*field{}
			add := func(c hostile, path []*field) {
				for _, c.text = range []int{0, 1, 9} {
					on[len(cases)] = path
					cases = append(cases, c)
				}
			}
			add(h, nil)
			for _, path := range arrays(r.fields, version, nil) {
				c := h
				c.target = path[len(path)-1]
				add(c, path)
				c.tags = c.target
				add(c, path)
				c.target = nil
				add(c, path)
			}
			for i, c := range cases {
				what := func() string {
					name := "tags"
					if c.target != nil {
						name = c.target.name
					}
					return fmt.Sprintf("%s v%d: %d of %s, strings of %d, tags %v", r.name, version, c.many, name, c.text, c.tags != nil)
				}
				// As many as pass, found by bisection.
				pass := func(many int) []byte {
					c.many = many
					body := c.fields(nil, r.fields, on[i])
					n := 0
					if c.target == nil && c.tags == nil {
						n = many
					}
					body = c.tagged(body, n)
					if Scan(r.key, version, body) != nil {
						return nil
					}
					return body
				}
				low, high := 0, 20_000
				require.NotNil(t, pass(low), what())
				if pass(high) == nil {
					for high-low > 1 {
						if middle := (low + high) / 2; pass(middle) != nil {
							low = middle
						} else {
							high = middle
						}
					}
				} else {
					low = high
				}
				body := pass(low)
				used := decoded(t, r.key, version, body)
				ratio := float64(used) / float64(memoryFactor*len(body)+memorySlack)
				if ratio > worst {
					worst, worstWhat = ratio, what()
				}
				require.LessOrEqual(t, used, uint64(memoryFactor*len(body)+memorySlack), "%s: %d bytes", what(), len(body))
			}
		}
	}
	t.Logf("the worst takes %.2f of what is allowed: %s", worst, worstWhat)
}
