package fold

import (
	"fmt"
	"math"
	"strconv"

	"github.com/keyframelog/keyframe/proto/delta"
)

// State is the state of one key. Value is meaningless where Exists is false.
type State struct {
	Exists bool
	Value  []byte
}

// Rejection is why a delta was skipped. The numbers are stored.
type Rejection uint8

// The reasons; 0 means that the delta was applied.
const (
	CounterOverflow Rejection = iota + 1 // the sum leaves 64 bits
	NotACounter                          // the state is no counter value
	RowTooLarge                          // key, value and headers together would exceed the limit
	Malformed                            // a delta that Delta would have refused: only a log that checks nothing has them
)

var rejectionNames = [...]string{"none", "counter_overflow", "not_a_counter", "row_too_large", "malformed"}

// String is the metric label.
func (r Rejection) String() string {
	if int(r) < len(rejectionNames) {
		return rejectionNames[r]
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// Folder applies deltas. It holds scratch memory and belongs to one goroutine.
type Folder struct {
	kind    Kind
	rowMax  int
	scratch []byte // holds the last result
	spare   []byte
	json    canonicaliser
}

// NewFolder makes a folder; key, value and headers of a row together have at most maxRowBytes: RowBytesMax but in tests.
func NewFolder(kind Kind, maxRowBytes int) *Folder { return &Folder{kind: kind, rowMax: maxRowBytes} }

// Apply returns the state after the delta. It is total and pure: equal states and deltas give equal results everywhere. A rejected
// delta leaves the state as it was. The value may alias prev.Value, d.Value or scratch memory that the next Apply overwrites.
func (f *Folder) Apply(prev State, d delta.Delta) (State, Rejection) {
	next, why := f.apply(prev, d)
	if why == 0 && tooLarge(d.Key, len(next.Value), d.Headers, f.rowMax) {
		why = RowTooLarge
	}
	if why != 0 {
		return prev, why
	}
	return next, 0
}

func (f *Folder) apply(prev State, d delta.Delta) (State, Rejection) {
	switch {
	case d.Op == delta.Delete:
		return State{}, 0
	case d.Op == delta.Put && f.kind == LastValue:
		return State{true, d.Value}, 0
	case d.Op == delta.Put && f.kind == Counter:
		if _, ok := parseCounter(d.Value); !ok {
			return prev, Malformed
		}
		return State{true, d.Value}, 0
	case d.Op == delta.Add && f.kind == Counter:
		return f.add(prev, d.Value)
	case f.kind == JSONMergePatch && (d.Op == delta.Put || d.Op == delta.Merge), f.kind == Debezium && d.Op == delta.Put:
		return f.document(prev, d)
	}
	return prev, Malformed
}

func (f *Folder) add(prev State, value []byte) (State, Rejection) {
	n, ok := parseCounter(value)
	if !ok {
		return prev, Malformed
	}
	var sum int64
	if prev.Exists {
		if sum, ok = parseCounter(prev.Value); !ok {
			return prev, NotACounter
		}
	}
	if n > 0 && sum > math.MaxInt64-n || n < 0 && sum < math.MinInt64-n {
		return prev, CounterOverflow
	}
	f.scratch = strconv.AppendInt(f.scratch[:0], sum+n, 10)
	return State{true, f.scratch}, 0
}

func (f *Folder) document(prev State, d delta.Delta) (State, Rejection) {
	patch, err := f.json.canonical(d.Value)
	if err != nil {
		return prev, Malformed
	}
	// prev.Value may be the scratch of the Apply before this one: the result goes into the other.
	result, ok := f.spare[:0], true
	switch {
	case d.Op == delta.Put:
		result = append(result, patch...)
	case prev.Exists:
		result, ok = appendMerged(result, prev.Value, patch)
	default:
		result, ok = appendMerged(result, nil, patch)
	}
	if !ok {
		return prev, Malformed
	}
	f.spare, f.scratch = f.scratch, result
	return State{true, result}, 0
}

// parseCounter reads the canonical decimal of an int64: no plus sign, no leading zeros, no negative zero.
func parseCounter(b []byte) (int64, bool) {
	digits := b
	if len(b) > 0 && b[0] == '-' {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}
