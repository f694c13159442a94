//go:build !race

// The race detector has append make what it appends first, so that kmsg allocates twice: what is measured is the program that users run.

package guard

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hostile writes a request out of its layout: as small as it can be, but for one array, or one structure's tags, that takes as many
// elements as the bytes allow.
type hostile struct {
	version  int16
	flexible bool
	above    []*field // the array in question and those that it lies in
	outer    int      // elements of those that it lies in
	target   *field   // of this array
	tags     *field   // of the elements of this array; the outermost structure's if it is nil and target too
	many     int
	text     int // bytes in each string

}

func (h *hostile) count(n int) []byte {
	if h.flexible {
		return binary.AppendUvarint(nil, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(nil, uint32(n))
}

func (h *hostile) fields(dst []byte, fields []field) []byte {
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
		case optional:
			dst = h.tagged(h.fields(append(dst, 1), f.elem), 0)
		case array:
			n := 0
			if slices.Contains(h.above, f) {
				n = h.outer
			}
			if f == h.target {
				n = h.many
			} else if f == h.tags {
				n = 1
			}
			dst = append(dst, h.count(n)...)
			for range n {
				dst = h.fields(dst, f.elem)
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

// layout names the fields of a version, so that versions that look alike are measured once.
func layout(fields []field, version int16) (names string) {
	for i := range fields {
		if f := &fields[i]; version >= f.from && version <= f.to {
			names += f.name + "(" + layout(f.elem, version) + ")"
		}
	}
	return names
}

// cases are one for every array, for its elements' tags, and for both, with strings of several lengths.
func cases(r *request, version int16) (list []hostile) {
	h := hostile{version: version, flexible: version >= r.flexible}
	add := func(c hostile) {
		for _, c.text = range []int{0, 1, 9} {
			list = append(list, c)
		}
	}
	add(h)
	for _, path := range arrays(r.fields, version, nil) {
		c := h
		c.above, c.target, c.outer = path, path[len(path)-1], 1
		add(c)
		if len(path) > 1 {
			c.outer = 30
			add(c)
			c.outer = 1
		}
		if h.flexible && !c.target.isScalar() {
			c.tags = c.target
			add(c)
			c.target = nil
			add(c)
		}
	}
	return list
}

// body is a request with that many elements or tags.
func (h *hostile) body(r *request, many int) []byte {
	h.many = many
	dst := h.fields(make([]byte, 0, 32<<10), r.fields)
	if h.target == nil && h.tags == nil {
		return h.tagged(dst, many)
	}
	return h.tagged(dst, 0)
}

// The worst that passes decodes to at most eight times its bytes and 64 KiB: every array, and every structure's tags, as
// full as they are let through.
func TestWorstMemory(t *testing.T) {
	const most = 10_000 // elements; more than the slack lets through of anything whose factor is above eight
	worst, worstWhat := 0.0, ""
	for _, r := range schemas() {
		before := ""
		for version := r.min; version <= r.max; version++ {
			names := fmt.Sprint(version >= r.flexible, layout(r.fields, version))
			if names == before {
				continue
			}
			before = names
			for _, c := range cases(&r, version) {
				many := sort.Search(most/max(c.outer, 1), func(n int) bool { return Scan(r.key, version, c.body(&r, n+1)) != nil })
				body := c.body(&r, many)
				require.NoError(t, Scan(r.key, version, body))
				used, allowed := decoded(t, r.key, version, body), uint64(8*len(body)+(64<<10))
				name := "outermost"
				if len(c.above) > 0 {
					name = c.above[len(c.above)-1].name
				}
				what := fmt.Sprintf("%s v%d: %d of %s (array %v, tags %v), strings of %d: %d bytes become %d",
					r.name, version, many, name, c.target != nil, c.tags != nil, c.text, len(body), used)
				if ratio := float64(used) / float64(allowed); ratio > worst {
					worst, worstWhat = ratio, what
				}
				require.LessOrEqual(t, used, allowed, what)
			}
		}
	}
	t.Logf("the worst takes %.2f of what is allowed: %s", worst, worstWhat)
}
