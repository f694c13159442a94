package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/suggest"
)

// update says how a config can be changed while the broker runs.
type update uint8

const (
	readOnly    update = iota
	clusterWide        // for one broker or for all
)

// definition describes one config of one type of resource.
type definition struct {
	name   string
	kind   topics.Type
	value  *string // default; nil: none
	doc    string
	update update
	check  func(value string) error // its text completes "Invalid value V for configuration N: "
	// synonym is the broker's config that a group takes its value from.
	synonym string
}

const noEffect = " Accepted for the sake of Kafka's tools; it has no effect here."

// table is a set of definitions by name; never changed once it is made.
type table []definition

func newTable(list ...definition) table {
	slices.SortFunc(list, func(a, b definition) int { return strings.Compare(a.name, b.name) })
	return list
}

func (t table) lookup(name string) (definition, bool) {
	i, ok := slices.BinarySearchFunc(t, name, func(d definition, name string) int { return strings.Compare(d.name, name) })
	if !ok {
		return definition{}, false
	}
	return t[i], true
}

// unknown names the nearest config that there is.
func (t table) unknown(what, name string) string {
	var names []string
	for _, d := range t {
		names = append(names, d.name)
	}
	reason := fmt.Sprintf("Unknown %s: %s", what, name)
	if near := suggest.Nearest(name, names); near != "" {
		reason += "; did you mean " + near + "?"
	}
	return reason
}

// inherits is topics.Alter's inherited: a change of a list starts from the list's default.
func (t table) inherits(name string) (value string, list bool) {
	d, ok := t.lookup(name)
	if !ok || d.kind != topics.TypeList {
		return "", false
	}
	if d.value != nil {
		value = *d.value
	}
	return value, true
}

func (d definition) validate(value string) error {
	if d.check == nil {
		return nil
	}
	if err := d.check(value); err != nil {
		return fmt.Errorf("Invalid value %s for configuration %s: %w", value, d.name, err)
	}
	return nil
}

// integer checks a number in [low, high].
func integer(low, high int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(topics.Trim(value), 10, 64)
		switch {
		case err != nil:
			return fmt.Errorf("Not a number of type LONG")
		case n < low:
			return fmt.Errorf("Value must be at least %d", low)
		case n > high:
			return fmt.Errorf("Value must be no more than %d", high)
		}
		return nil
	}
}

// RequestError refuses a change that the resource does not admit.
type RequestError struct{ Reason string }

func (e *RequestError) Error() string { return e.Reason }

func refuse(format string, args ...any) error { return &RequestError{fmt.Sprintf(format, args...)} }
