package topics

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Trim takes away what Kafka does around a value: spaces and control characters of ASCII. A no-break space is part of the value.
func Trim(value string) string {
	return strings.TrimFunc(value, func(r rune) bool { return r <= ' ' })
}

// integer checks a 64-bit number in [low, high].
func integer(low, high int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(Trim(value), 10, 64)
		if err != nil {
			return fmt.Errorf("Not a number of type LONG")
		}
		if n < low {
			return fmt.Errorf("Value must be at least %d", low)
		}
		if n > high {
			return fmt.Errorf("Value must be no more than %d", high)
		}
		return nil
	}
}

// never accepts only false: it is about what this broker does not have.
func never(why string) func(string) error {
	return func(value string) error {
		if err := boolean(value); err != nil {
			return err
		}
		if !strings.EqualFold(Trim(value), "false") {
			return fmt.Errorf("this broker supports only false (%s)", why)
		}
		return nil
	}
}

func oneOf(values ...string) func(string) error {
	return func(value string) error {
		if slices.Contains(values, Trim(value)) {
			return nil
		}
		return fmt.Errorf("String must be one of: %s", strings.Join(values, ", "))
	}
}

func fraction(value string) error {
	f, err := strconv.ParseFloat(Trim(value), 64)
	if err != nil {
		return fmt.Errorf("Not a number of type DOUBLE")
	}
	if !(f >= 0 && f <= 1) {
		return fmt.Errorf("Value must be between 0 and 1")
	}
	return nil
}

// gzipLevel is the range of compression.gzip.level.
func gzipLevel(value string) error {
	if err := integer(-1, 9)(value); err != nil {
		return err
	}
	if number(value) == 0 {
		return fmt.Errorf("Value must be between 1 and 9 or equal to -1")
	}
	return nil
}

var throttledReplica = regexp.MustCompile(`^([0-9]+:[0-9]+)?$`)

// throttledReplicas is a list of PARTITION:BROKER, or *. Kafka minds neither empty elements nor numbers that no partition has.
func throttledReplicas(value string) error {
	list := Elements(value)
	if strings.Join(list, "") == "*" {
		return nil
	}
	for _, pair := range list {
		if !throttledReplica.MatchString(pair) {
			return fmt.Errorf("it must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...")
		}
	}
	return nil
}

func boolean(value string) error {
	value = Trim(value)
	if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
		return fmt.Errorf("Expected value to be either true or false")
	}
	return nil
}

// number parses a value that passed its check.
func number(value string) int64 {
	n, _ := strconv.ParseInt(Trim(value), 10, 64)
	return n
}

const (
	int32Max = math.MaxInt32
	int64Max = math.MaxInt64
)
