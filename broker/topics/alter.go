package topics

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Op is what a change does to one config, numbered as in IncrementalAlterConfigs (KIP-339).
type Op int8

const (
	OpSet Op = iota
	OpDelete
	OpAppend   // to a list; what is in it is not added again
	OpSubtract // from a list
)

func (o Op) String() string {
	names := [...]string{"SET", "DELETE", "APPEND", "SUBTRACT"}
	if o >= 0 && int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("operation %d", int8(o))
}

// Change is one change of a config.
type Change struct {
	Name  string
	Op    Op
	Value string // not for OpDelete
}

// Alter returns what is set once the changes are made to what is set now. inherited says of a config that is not set which value it has,
// and whether it is a list; unknown ones are none. Values are not validated. The error is a *ConfigError.
func Alter(set map[string]string, changes []Change, inherited func(name string) (value string, list bool)) (map[string]string, error) {
	next := maps.Clone(set)
	if next == nil {
		next = map[string]string{}
	}
	for _, c := range changes {
		switch c.Op {
		case OpSet:
			next[c.Name] = c.Value
		case OpDelete:
			delete(next, c.Name)
		default:
			value, list := inherited(c.Name)
			if !list {
				return nil, &ConfigError{Name: c.Name, Reason: fmt.Sprintf("Can't %s to key %s because its type is not LIST.", c.Op, c.Name)}
			}
			if now, ok := next[c.Name]; ok {
				value = now
			}
			next[c.Name] = alterList(Elements(value), c)
		}
	}
	return next, nil
}

func alterList(list []string, c Change) string {
	for _, e := range changed(c.Value) {
		at := slices.Index(list, e)
		switch {
		case c.Op == OpAppend && at < 0:
			list = append(list, e)
		case c.Op == OpSubtract && at >= 0:
			list = slices.Delete(list, at, at+1)
		}
	}
	return strings.Join(list, ",")
}

// changed are the elements that a change names. As Kafka has it, empty ones at the end are none, but an empty value is an empty element:
// whoever appends nothing to a list that takes none is told.
func changed(value string) []string {
	list := strings.Split(value, ",")
	for value != "" && len(list) > 0 && list[len(list)-1] == "" {
		list = list[:len(list)-1]
	}
	for i := range list {
		list[i] = Trim(list[i])
	}
	return list
}

// inherits is Alter's inherited for topics.
func (c *Config) inherits(name string) (value string, list bool) {
	d, ok := Lookup(name)
	if !ok {
		return "", false
	}
	return c.inherited(d), d.Type == TypeList
}
