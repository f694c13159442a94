package topics

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/keyframelog/keyframe/proto/suggest"
)

// Type is a config's type, numbered as in DescribeConfigs.
type Type int8

const (
	TypeBoolean Type = 1
	TypeString  Type = 2
	TypeInt     Type = 3
	TypeLong    Type = 5
	TypeDouble  Type = 6
	TypeList    Type = 7
)

// Definition describes one topic config.
type Definition struct {
	Name    string
	Type    Type
	Default string
	// Synonym is the broker config whose value a topic without this config takes; "" when there is none.
	Synonym string
	Doc     string

	check func(value string) error // of the value alone; the error's text completes "Invalid value V for configuration N: "
	apply func(c *Config, value string)
}

// Definitions returns all topic configs by name. The slice is a copy.
func Definitions() []Definition { return slices.Clone(definitions) }

// Lookup returns the definition of a topic config.
func Lookup(name string) (Definition, bool) {
	i, ok := slices.BinarySearchFunc(definitions, name, func(d Definition, name string) int { return strings.Compare(d.Name, name) })
	if !ok {
		return Definition{}, false
	}
	return definitions[i], true
}

// ParseConfig validates what is set on a topic and returns the effective configuration; errors are *ConfigError.
func ParseConfig(set map[string]string) (*Config, error) {
	c := &Config{set: make(map[string]string, len(set))}
	for _, d := range definitions {
		value, ok := set[d.Name]
		if !ok {
			value = d.Default
		} else if d.check != nil {
			if err := d.check(value); err != nil {
				return nil, &ConfigError{Name: d.Name, Reason: fmt.Sprintf("Invalid value %s for configuration %s: %v", value, d.Name, err)}
			}
			c.set[d.Name] = value
		} else {
			c.set[d.Name] = value
		}
		if d.apply != nil {
			d.apply(c, value)
		}
	}
	for name := range set {
		if _, ok := Lookup(name); !ok {
			return nil, unknownConfig(name)
		}
	}
	return c, c.check()
}

// check refuses combinations.
func (c *Config) check() error {
	c.KeyFramed = c.Compact
	if c.Compact && c.Delete {
		return &ConfigError{Name: policyConfig, Reason: "Invalid value for configuration cleanup.policy: 'compact,delete' is not supported yet; " +
			"use 'compact' (rows are kept for ever) or 'delete' (retention.ms, retention.bytes)"}
	}
	if _, ok := c.set[foldConfig]; ok && !c.Compact {
		return &ConfigError{Name: foldConfig, Reason: "Invalid configuration: keyframe.fold needs cleanup.policy=compact, which makes a topic key-framed"}
	}
	return nil
}

// Value returns a config's effective value and whether it was set on the topic itself.
func (c *Config) Value(name string) (value string, set bool) {
	if value, set = c.set[name]; set {
		return value, true
	}
	d, _ := Lookup(name)
	return d.Default, false
}

// Set returns a copy of what was set on the topic itself.
func (c *Config) Set() map[string]string {
	m := make(map[string]string, len(c.set))
	for k, v := range c.set {
		m[k] = v
	}
	return m
}

func configNames() (names []string) {
	for _, d := range definitions {
		names = append(names, d.Name)
	}
	return names
}

func unknownConfig(name string) error {
	reason := "Unknown topic config name: " + name
	if near := suggest.Nearest(name, configNames()); near != "" {
		reason += "; did you mean " + near + "?"
	}
	return &ConfigError{Name: name, Reason: reason}
}

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
		if slices.Contains(values, value) {
			return nil
		}
		return fmt.Errorf("String must be one of: %s", strings.Join(values, ", "))
	}
}

func fraction(value string) error {
	f, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("Not a number of type DOUBLE")
	}
	if !(f >= 0 && f <= 1) {
		return fmt.Errorf("Value must be between 0 and 1")
	}
	return nil
}

func boolean(value string) error {
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
