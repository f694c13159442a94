package main

import (
	"fmt"

	"github.com/keyframelog/keyframe/proto/suggest"
)

// unknownKey is the error for a name that nothing reads, with the nearest known one.
func unknownKey(where, name string, known []string) error {
	if best := suggest.Nearest(name, known); best != "" {
		return fmt.Errorf("unknown setting %q %s: did you mean %q? (keyframe config print lists them all)", name, where, best)
	}
	return fmt.Errorf("unknown setting %q %s (keyframe config print lists them all)", name, where)
}
