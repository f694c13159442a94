package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed: the bytes cannot be a request of that version. The message names the field.
var ErrMalformed = errors.New("malformed request")

// ErrTooMany: its arrays have more than ElementsMax elements.
var ErrTooMany = errors.New("request for too many things at once")

// ElementsMax is how many elements all arrays of a request may have. What they decode to is bounded by its bytes, but a name of five bytes
// may ask for hundreds in maps and answers.
const ElementsMax = 1 << 18

// ErrUnsupported: no request of that key and version is served.
var ErrUnsupported = errors.New("unsupported request")

// memorySlack is what a small request may decode to whatever its size; memoryFactor is how much more than its bytes a large one may.
const (
	memorySlack  = 48 << 10 // of 64 KiB: allocations are rounded up to size classes and pages
	memoryFactor = 8
)

// table maps API keys to layouts. It is never written after initialisation.
var table = func() (t [128]*request) {
	for _, r := range schemas() {
		t[r.key] = &r
	}
	return t
}()

func lookup(key int16) *request {
	if key < 0 || int(key) >= len(table) {
		return nil
	}
	return table[key]
}

// Supported returns the versions of an API that are served, both ends included.
func Supported(key int16) (low, high int16, ok bool) {
	if r := lookup(key); r != nil {
		return r.min, r.max, true
	}
	return 0, 0, false
}

// Scan walks a request body. Errors: ErrMalformed, ErrTooMany, ErrUnsupported. It does not allocate unless it fails.
func Scan(key, version int16, body []byte) error {
	r := lookup(key)
	if r == nil || version < r.min || version > r.max {
		return fmt.Errorf("%w: key %d version %d", ErrUnsupported, key, version)
	}
	w := walker{b: body, version: version, flexible: version >= r.flexible, memory: memoryFactor*len(body) + memorySlack, elements: ElementsMax}
	w.fields(r.fields)
	w.tags(r.tagged)
	if w.elements < 0 {
		return fmt.Errorf("%w: %s v%d: more than %d in %s", ErrTooMany, r.name, version, ElementsMax, w.failed)
	}
	if w.failed != "" {
		return fmt.Errorf("%w: %s v%d: %s", ErrMalformed, r.name, version, w.failed)
	}
	return nil
}

// walker goes over the bytes once. After a failure it stands still.
type walker struct {
	b        []byte
	version  int16
	flexible bool
	memory   int    // bytes that arrays may still decode to
	elements int    // that arrays may still have
	failed   string // the field
}

func (w *walker) fail(name string) { w.failed = "field " + name }

func (w *walker) fields(fields []field) {
	for i := range fields {
		f := &fields[i]
		if w.version < f.from || w.version > f.to {
			continue
		}
		if w.failed == "" {
			w.field(f)
		}
		if w.failed != "" {
			return
		}
	}
}

func (w *walker) field(f *field) {
	switch f.kind {
	case fixed:
		w.skip(int64(f.size), f.name)
	case text:
		w.skip(w.length(2, f.name), f.name)
	case blob:
		w.skip(w.length(4, f.name), f.name)
	case array:
		w.array(f)
	case optional:
		w.optional(f)
	}
}

func (w *walker) optional(f *field) {
	if len(w.b) < 1 || w.memory < f.memory {
		w.fail(f.name)
		return
	}
	present := int8(w.b[0]) != -1
	if w.b = w.b[1:]; present {
		w.memory -= f.memory
		w.fields(f.elem)
		w.tags(f.tagged)
	}
}

// length reads the length of a string, byte string or array, -1 (null) as 0.
func (w *walker) length(width int, name string) int64 {
	if w.flexible {
		return max(int64(w.uvarint(name))-1, 0)
	}
	if len(w.b) < width {
		w.fail(name)
		return 0
	}
	var n int64
	if width == 2 {
		n = int64(int16(binary.BigEndian.Uint16(w.b)))
	} else {
		n = int64(int32(binary.BigEndian.Uint32(w.b)))
	}
	w.b = w.b[width:]
	if n < -1 {
		w.fail(name)
	}
	return max(n, 0)
}

func (w *walker) skip(n int64, name string) {
	if w.failed != "" {
		return
	}
	if n < 0 || n > int64(len(w.b)) {
		w.fail(name)
		return
	}
	w.b = w.b[n:]
}

func (w *walker) uvarint(name string) uint32 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 || v > 1<<32-1 {
		w.fail(name)
		return 0
	}
	w.b = w.b[n:]
	return uint32(v)
}

func (w *walker) array(f *field) {
	n := w.length(4, f.name)
	if w.failed != "" {
		return
	}
	// Every element takes at least a byte, so that the loop ends with the bytes.
	if n > int64(len(w.b)) || n*int64(f.memory) > int64(w.memory) {
		w.fail("count of " + f.name)
		return
	}
	if w.elements -= int(n); w.elements < 0 {
		w.fail(f.name)
		return
	}
	w.memory -= int(n) * f.memory
	for ; n > 0 && w.failed == ""; n-- {
		w.fields(f.elem)
		if !f.isScalar() {
			w.tags(f.tagged)
		}
	}
}

// tags walks the tagged fields that end a structure of a flexible version. known are those that kmsg decodes: scalars, which take no
// more than their place in the structure, and structures.
func (w *walker) tags(known []field) {
	if !w.flexible || w.failed != "" {
		return
	}
	n := w.uvarint("tag count")
	if int64(n)*2 > int64(len(w.b)) { // a tag takes two bytes at least
		w.fail("tag count")
		return
	}
	unknown := 0
	for ; n > 0 && w.failed == ""; n-- {
		tag, size := w.uvarint("tag"), int64(w.uvarint("tag size"))
		if w.failed != "" || size > int64(len(w.b)) {
			w.fail("tag size")
			return
		}
		content := w.b[:size]
		w.b = w.b[size:]
		if int(tag) >= len(known) {
			w.unknownTag(&unknown)
		} else if known[tag].elem != nil {
			w.inside(content, known[tag].elem)
		}
	}
}

// unknownTag charges for a tag that kmsg keeps in a map of the structure's own, which grows by doubling.
func (w *walker) unknownTag(unknown *int) {
	const mapMemory, tagMemory = 384, 192
	if *unknown++; *unknown == 1 {
		w.memory -= mapMemory
	}
	if w.memory -= tagMemory; w.memory < 0 {
		w.fail("tag count")
	}
}

// inside walks a structure that is the content of a tag.
func (w *walker) inside(content []byte, elem []field) {
	outer := w.b
	w.b = content
	w.fields(elem)
	w.tags(nil)
	w.b = outer
}
