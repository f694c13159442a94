package fold

import (
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
)

// defaultOp is what a record with a value and without keyframe.op means.
func (k Kind) defaultOp() delta.Op {
	switch k {
	case JSONMergePatch:
		return delta.Merge
	case Counter:
		return delta.Add
	}
	return delta.Put
}

// Names tells whether a record has to name its operation by keyframe.op: without, a value would be another one, or a change event.
func (k Kind) Names(op delta.Op, value []byte) bool {
	if value == nil {
		return op != delta.Delete
	}
	return op != k.defaultOp() || k == Debezium
}

func (k Kind) admits(op delta.Op) bool {
	return op == delta.Put || op == delta.Delete || op == k.defaultOp()
}

// Resets reports whether the result of the operation does not depend on the state that it meets, unless Apply rejects it: then the
// state stays.
func (k Kind) Resets(op delta.Op) bool { return op == delta.Put || op == delta.Delete }

// Delta reads a record as a delta and checks what the delta alone shows. The error is a *delta.Refusal. The slices alias the record; the
// value of a change event is the after-image in it.
func (k Kind) Delta(key, value []byte, headers batch.Headers) (delta.Delta, error) {
	if !k.known() {
		return delta.Delta{}, delta.Refuse("unknown %s", k)
	}
	if key == nil {
		return delta.Delta{}, delta.Refuse("the key is null: a key-framed topic needs one")
	}
	op, event, err := k.op(value, headers)
	if err != nil {
		return delta.Delta{}, err
	}
	if event {
		if op, value, err = readEvent(value); err != nil {
			return delta.Delta{}, err
		}
	}
	if len(key)+len(value)+len(headers) > surelyFits {
		if err := k.checkSize(op, key, value, headers); err != nil {
			return delta.Delta{}, err
		}
	}
	if op == delta.Delete {
		if len(value) > 0 {
			return delta.Delta{}, delta.Refuse("a delete has a value")
		}
		return delta.Delta{Op: op, Key: key, Headers: headers}, nil
	}
	if value == nil {
		return delta.Delta{}, delta.Refuse("a %s needs a value", op)
	}
	if !event {
		if err := k.checkValue(value); err != nil {
			return delta.Delta{}, err
		}
	}
	return delta.Delta{Op: op, Key: key, Value: value, Headers: headers}, nil
}

// op names the operation; event: the value says, because it is one of Debezium's change events.
func (k Kind) op(value []byte, headers batch.Headers) (op delta.Op, event bool, err error) {
	named, ok := headers.Get(delta.HeaderOp)
	if !ok {
		if value == nil {
			return delta.Delete, false, nil
		}
		return k.defaultOp(), k == Debezium, nil
	}
	op, err = delta.ParseOp(string(named))
	if err != nil {
		return 0, false, err
	}
	if !k.admits(op) {
		return 0, false, delta.Refuse("the fold %s has no %s", k, op)
	}
	return op, false, nil
}

// OpName is the operation that a record asks for, as keyframe.op names it, also where Delta refuses the record.
func (k Kind) OpName(value []byte, headers batch.Headers) string {
	if named, ok := headers.Get(delta.HeaderOp); ok {
		return string(named)
	}
	if value == nil {
		return delta.Delete.String()
	}
	return k.defaultOp().String()
}

func (k Kind) checkValue(value []byte) error {
	switch k {
	case JSONMergePatch, Debezium:
		return checkJSON(value)
	case Counter:
		if _, ok := parseCounter(value); !ok {
			return delta.Refuse("%.40q is no counter value: decimal, 64 bits, no plus sign, no leading zeros", value)
		}
	}
	return nil
}
