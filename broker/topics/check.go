package topics

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// integer checks a 64-bit number in [low, high].
func integer(low, high int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
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

// only accepts the values that this broker honours.
func only(why string, values ...string) func(string) error {
	return func(value string) error {
		if slices.Contains(values, value) {
			return nil
		}
		return fmt.Errorf("this broker supports only %s (%s)", strings.Join(values, ", "), why)
	}
}

func oneOf(values ...string) func(string) error {
	return func(value string) error {
		if slices.Contains(values, strings.TrimSpace(value)) {
			return nil
		}
		return fmt.Errorf("String must be one of: %s", strings.Join(values, ", "))
	}
}

func fraction(value string) error {
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
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

// throttledReplicas is a list of PARTITION:BROKER, or *.
func throttledReplicas(value string) error {
	list := Elements(value)
	if len(list) == 1 && list[0] == "*" {
		return nil
	}
	for _, pair := range list {
		partition, broker, ok := strings.Cut(pair, ":")
		if !ok || integer(0, int32Max)(partition) != nil || integer(0, int32Max)(broker) != nil {
			return fmt.Errorf("it must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...")
		}
	}
	return nil
}

func boolean(value string) error {
	value = strings.TrimSpace(value)
	if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
		return fmt.Errorf("Expected value to be either true or false")
	}
	return nil
}

// number parses a value that passed its check.
func number(value string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	return n
}

const (
	int32Max = math.MaxInt32
	int64Max = math.MaxInt64
)
