package guard

import (
	"math"
	"slices"
)

// kind is the type of a field on the wire.
type kind uint8

const (
	fixed    kind = iota // size bytes
	text                 // string, nullable or not
	blob                 // bytes, nullable or not
	array                // count, then elements
	optional             // -1, or 1 and a structure
)

// field is one field of a structure, present in the versions [from, to].
type field struct {
	name     string
	kind     kind
	size     int // of a fixed field, in bytes
	from, to int16
	elem     []field // of an array, where an element of one unnamed field is that field alone; of an optional structure
	tagged   []field // tag 0, 1, ... of an element, as in request
	memory   int     // what an element, or the structure, takes once decoded, in bytes
}

// request is the layout of one API's requests.
type request struct {
	key      int16
	name     string
	min, max int16 // versions that we serve
	flexible int16 // first version with compact lengths and tags
	fields   []field
	tagged   []field // tag 0, 1, ... of the outermost structure that kmsg knows; those with elements are structures
}

const last = math.MaxInt16

func fixedField(name string, size int) field {
	return field{name: name, kind: fixed, size: size, to: last, memory: size}
}

func i8(name string) field   { return fixedField(name, 1) }
func i16(name string) field  { return fixedField(name, 2) }
func i32(name string) field  { return fixedField(name, 4) }
func i64(name string) field  { return fixedField(name, 8) }
func uuid(name string) field { return fixedField(name, 16) }

// padded is a field between larger ones, which takes a word once decoded.
func padded(f field) field { f.memory = 8; return f }

// str is a string, of which a nullable one is a pointer once decoded, data a byte string. Null is walked alike in both; kmsg refuses it
// where it may not be.
func str(name string) field  { return field{name: name, kind: text, to: last, memory: 24} }
func data(name string) field { return field{name: name, kind: blob, to: last, memory: 24} }

// list is an array of structures, strs of strings, i32s of integers.
func list(name string, elem ...field) field {
	memory := 8 // unknown tags
	for _, f := range elem {
		if f.kind == array {
			memory += 24
		} else {
			memory += f.memory
		}
	}
	return field{name: name, kind: array, to: last, elem: elem, memory: memory}
}

// maybe is a structure that may be null.
func maybe(name string, elem ...field) field {
	f := list(name, elem...)
	f.kind = optional
	return f
}

func strs(name string) field { return scalars(name, str("")) }
func i32s(name string) field { return scalars(name, i32("")) }

func scalars(name string, elem field) field {
	return field{name: name, kind: array, to: last, elem: []field{elem}, memory: elem.memory}
}

// isScalar reports whether the elements of an array are bare values, without a structure and its tags.
func (f *field) isScalar() bool { return len(f.elem) == 1 && f.elem[0].name == "" }

// knows sets the tagged fields of an array's elements.
func (f field) knows(tagged ...field) field { f.tagged = tagged; return f }

// since, until and between limit a field to versions, both ends included.
func (f field) since(v int16) field { f.from = v; return f }
func (f field) until(v int16) field { f.to = v; return f }
func (f field) between(from, to int16) field {
	f.from, f.to = from, to
	return f
}

// schemas is the one table of what is served.
func schemas() []request {
	return slices.Concat(dataRequests(), groupRequests(), transactionRequests(), adminRequests())
}
