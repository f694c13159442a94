package topics

import (
	"fmt"
	"strings"
)

const (
	maxNameBytes  = 249    // Kafka's: a directory name of 255 bytes less "-" and a partition number
	maxPartitions = 10_000 // of one topic; Kafka bounds one request by the same number
)

// CheckName validates a topic's name as Kafka does; the error is a *NameError.
func CheckName(name string) error {
	refuse := func(format string, args ...any) error {
		return &NameError{Name: name, Reason: "Topic name is invalid: " + fmt.Sprintf(format, args...)}
	}
	switch {
	case name == "":
		return refuse("the empty string is not allowed")
	case name == "." || name == "..":
		return refuse("'%s' is not allowed", name)
	case len(name) > maxNameBytes:
		return refuse("the length of '%s' is longer than the max allowed length %d", name, maxNameBytes)
	}
	for i := range len(name) {
		if !legalNameByte(name[i]) {
			return refuse("'%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
		}
	}
	return nil
}

func legalNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// checkCollision refuses a name that differs from an existing one in '.' and '_' only: Kafka's metrics fold the two.
func (r *Registry) checkCollision(name string) error {
	if !strings.ContainsAny(name, "._") {
		return nil
	}
	folded := foldName(name)
	for _, t := range r.List() {
		if t.Name != name && foldName(t.Name) == folded {
			return &NameError{Name: name, Reason: fmt.Sprintf("Topic '%s' collides with existing topic: %s", name, t.Name)}
		}
	}
	return nil
}

func foldName(name string) string { return strings.ReplaceAll(name, ".", "_") }

func checkPartitions(n int32) error {
	switch {
	case n <= 0:
		return &PartitionsError{"Number of partitions was set to an invalid non-positive value."}
	case n > maxPartitions:
		return &PartitionsError{fmt.Sprintf("Number of partitions %d is above this broker's limit of %d for one topic.", n, maxPartitions)}
	}
	return nil
}
