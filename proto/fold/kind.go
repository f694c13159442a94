package fold

import "fmt"

// Kind is the fold of a topic. The numbers are stored and sent.
type Kind uint8

// The folds.
const (
	LastValue Kind = iota + 1
	JSONMergePatch
	Counter
	Debezium
)

var kindNames = [...]string{LastValue: "last-value", JSONMergePatch: "json-merge-patch", Counter: "counter", Debezium: "debezium"}

func (k Kind) known() bool { return k >= LastValue && int(k) < len(kindNames) }

// WholeValues tells whether every delta is a whole value, so that it does not matter when a row leaves that it replaces.
func (k Kind) WholeValues() bool { return k == LastValue || k == Debezium }

func (k Kind) String() string {
	if k.known() {
		return kindNames[k]
	}
	return fmt.Sprintf("fold %d", uint8(k))
}

// ParseKind reads a value of the topic config keyframe.fold.
func ParseKind(s string) (Kind, error) {
	for k := LastValue; k.known(); k++ {
		if kindNames[k] == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("unknown fold %q: last-value, json-merge-patch, counter or debezium", s)
}
