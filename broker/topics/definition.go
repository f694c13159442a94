package topics

import (
	"fmt"
	"slices"
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
	// NoEffect: the config is accepted for the sake of Kafka's tools.
	NoEffect bool

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

// Defaults are what topics take that do not set a config themselves, by the topic config's name: the broker's values. What is missing
// has the definition's default.
type Defaults map[string]string

// ParseConfig validates what is set on a topic and returns the effective configuration; errors are *ConfigError.
func ParseConfig(set map[string]string, defaults Defaults) (*Config, error) {
	return parseConfig(set, defaults, false)
}

// parseConfig: of a stored configuration, what has no effect is not checked again, so that a topic opens that an older program made.
func parseConfig(set map[string]string, defaults Defaults, stored bool) (*Config, error) {
	c := &Config{set: make(map[string]string, len(set)), defaults: defaults}
	for _, d := range definitions {
		value, ok := set[d.Name]
		if ok {
			if err := d.Check(value); err != nil && !(stored && d.NoEffect) {
				return nil, err
			}
			value = d.Type.Normal(value)
			c.set[d.Name] = value
		} else {
			value = c.inherited(d)
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
	if stored && c.MaxCompactionLagMs < c.MinCompactionLagMs {
		c.MaxCompactionLagMs = c.MinCompactionLagMs // the broker's default changed beneath: what keeps more holds
	}
	return c, c.check()
}

// inherited is the value of a config that the topic does not set.
func (c *Config) inherited(d Definition) string {
	if value, ok := c.defaults[d.Name]; ok {
		return d.Type.Normal(value)
	}
	return d.Default
}

// CheckValue is Check without the names in the error.
func (d Definition) CheckValue(value string) error { return d.check(value) }

// Check validates a value alone; the error is a *ConfigError.
func (d Definition) Check(value string) error {
	if err := d.check(value); err != nil {
		return &ConfigError{Name: d.Name, Reason: fmt.Sprintf("Invalid value %s for configuration %s: %v", value, d.Name, err)}
	}
	return nil
}

// check refuses combinations.
func (c *Config) check() error {
	c.KeyFramed = c.Compact
	if c.MinCompactionLagMs > c.MaxCompactionLagMs {
		return &ConfigError{Name: minLagConfig, Reason: fmt.Sprintf("conflict topic config setting %s (%d) > %s (%d)",
			minLagConfig, c.MinCompactionLagMs, maxLagConfig, c.MaxCompactionLagMs)}
	}
	if c.DeltaRetentionMs < 0 || c.DeltaRetentionMs > c.MaxCompactionLagMs {
		if c.MaxCompactionLagMs != int64Max {
			c.DeltaRetentionMs = c.MaxCompactionLagMs
		}
	}
	return nil
}

// Value returns a config's effective value and whether it was set on the topic itself.
func (c *Config) Value(name string) (value string, set bool) {
	if value, set = c.set[name]; set {
		return value, true
	}
	d, _ := Lookup(name)
	return c.inherited(d), false
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

// Normal is how a valid value of the type is kept and shown, as Kafka prints what it has parsed.
func (t Type) Normal(value string) string {
	switch t {
	case TypeBoolean:
		return strings.ToLower(Trim(value))
	case TypeList:
		return strings.Join(Elements(value), ",")
	}
	return Trim(value)
}

// Elements splits the value of a list.
func Elements(value string) []string {
	if Trim(value) == "" {
		return nil
	}
	list := strings.Split(value, ",")
	for i := range list {
		list[i] = Trim(list[i])
	}
	return list
}
