// Package delta says what a record of a key-framed topic means: an operation on the state of one key.
//
// The operation is named by the record header keyframe.op (put, delete, merge, add); without it the topic's fold chooses (proto/fold).
package delta

import (
	"fmt"
	"strings"

	"github.com/keyframelog/keyframe/proto/batch"
)

// HeaderOp is the record header that names the operation.
const HeaderOp = "keyframe.op"

// Op is what a delta does to the state of its key. The numbers are stored.
type Op uint8

// The operations.
const (
	Put    Op = iota + 1 // the value becomes the state
	Delete               // the key is gone
	Merge                // the value is a JSON merge patch (RFC 7396)
	Add                  // the value is added to a counter
)

var names = [...]string{Put: "put", Delete: "delete", Merge: "merge", Add: "add"}

func (o Op) String() string {
	if o >= Put && int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// ParseOp reads the value of the header. The error is a *Refusal.
func ParseOp(s string) (Op, error) {
	for o := Put; int(o) < len(names); o++ {
		if names[o] == s {
			return o, nil
		}
	}
	// The clone keeps s off the heap where it is converted from a header, for every record.
	return 0, Refuse("unknown %s %.40q: put, delete, merge or add", HeaderOp, strings.Clone(s))
}

// Delta is one operation on one key. The slices alias the record.
type Delta struct {
	Op      Op
	Key     []byte
	Value   []byte // nil for Delete
	Headers batch.Headers
}

// Refusal says what a delta alone shows to be wrong: the record must not enter the log.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

// Refuse makes a *Refusal.
func Refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }
