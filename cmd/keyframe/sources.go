package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// config is what flags, environment, file and defaults amount to for one command.
type config struct {
	values *pflag.FlagSet // every setting, with the value that holds
	flags  *pflag.FlagSet // the command's own
	viper  *viper.Viper   // environment before file
	file   string
}

// loadConfig reads the sources, and refuses what it does not know and what does not parse: a value that silently became zero or
// false would be a setting that does not hold.
func loadConfig(cmd *cobra.Command) (*config, error) {
	c := &config{values: pflag.NewFlagSet("settings", pflag.ContinueOnError), flags: cmd.Flags(), viper: viper.New()}
	known := map[string]bool{"config": true}
	for _, s := range settings() {
		known[s.key] = true
		s.declare(c.values)
		if err := c.viper.BindEnv(s.key, envName(s.key)); err != nil {
			return nil, err
		}
	}
	if err := checkEnvironment(known); err != nil {
		return nil, err
	}
	if err := c.readFile(known); err != nil {
		return nil, err
	}
	for _, key := range settingKeys() {
		if err := c.take(key); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *config) readFile(known map[string]bool) error {
	c.file, _ = c.flags.GetString("config")
	if c.file == "" {
		c.file = os.Getenv(envName("config"))
	}
	if c.file == "" {
		return nil
	}
	c.viper.SetConfigFile(c.file)
	c.viper.SetConfigType("yaml")
	if err := c.viper.ReadInConfig(); err != nil {
		return fmt.Errorf("configuration file %s: %w", c.file, err)
	}
	for _, key := range c.viper.AllKeys() {
		if !known[key] {
			return unknownKey("in "+c.file, key, settingKeys())
		}
	}
	return nil
}

// take parses the value that holds with the flag's own parser. Viper's typed getters are not used: they turn what they cannot read
// into zero. Flags and YAML lists are taken as they are; only a variable has to hold a list in one string.
func (c *config) take(key string) error {
	to := c.values.Lookup(key)
	if f := c.flags.Lookup(key); f != nil && f.Changed {
		if list, isList := f.Value.(pflag.SliceValue); isList {
			return to.Value.(pflag.SliceValue).Replace(list.GetSlice())
		}
		return to.Value.Set(f.Value.String())
	}
	raw := c.viper.Get(key)
	if raw == nil {
		return nil // the default holds
	}
	if list, isList := to.Value.(pflag.SliceValue); isList {
		elements, err := c.elements(key, raw)
		if err != nil {
			return err
		}
		return list.Replace(elements)
	}
	if what := composite(raw); what != "" {
		return fmt.Errorf("%s %v (%s): one value is expected, not a %s", key, raw, c.source(key), what)
	}
	text := fmt.Sprint(raw)
	if err := to.Value.Set(text); err != nil {
		return fmt.Errorf("%s %q (%s): write %s", key, text, c.source(key), expected(to))
	}
	return nil
}

func (c *config) elements(key string, raw any) ([]string, error) {
	if text, isText := raw.(string); isText && c.inEnvironment(key) {
		return splitList(text), nil
	}
	values, isList := raw.([]any)
	if !isList {
		values = []any{raw}
	}
	list := make([]string, len(values))
	for i, v := range values {
		if what := composite(v); what != "" {
			return nil, fmt.Errorf("%s %v (%s): a list of plain values is expected, not a %s", key, raw, c.source(key), what)
		}
		list[i] = fmt.Sprint(v)
	}
	return list, nil
}

// composite names what YAML can hold in place of one value; empty for one value.
func composite(raw any) string {
	switch raw.(type) {
	case []any:
		return "list"
	case map[string]any, map[any]any:
		return "map"
	}
	return ""
}

// splitList takes a list apart that stands in one string, separated by commas.
func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// checkEnvironment finds misspelt variables: one that nobody reads is a setting that silently does not hold.
func checkEnvironment(known map[string]bool) error {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		rest, ours := strings.CutPrefix(name, envPrefix+"_")
		if key := strings.ToLower(strings.ReplaceAll(rest, "_", "-")); ours && !known[key] {
			var names []string
			for _, k := range settingKeys() {
				names = append(names, envName(k))
			}
			return unknownKey("in the environment", name, names)
		}
	}
	return nil
}

// inEnvironment tells whether the setting's variable says anything: an empty one counts as unset.
func (c *config) inEnvironment(key string) bool { return os.Getenv(envName(key)) != "" }

// source tells where a setting's value comes from.
func (c *config) source(key string) string {
	switch f := c.flags.Lookup(key); {
	case f != nil && f.Changed:
		return "flag --" + key
	case c.inEnvironment(key):
		return "environment " + envName(key)
	case c.viper.Get(key) != nil:
		return "file " + c.file
	}
	return "default"
}

// wrong is the error for a value that parses and cannot be.
func (c *config) wrong(key, what string) error {
	return fmt.Errorf("%s %q (%s): %s", key, c.text(key), c.source(key), what)
}

// text is the value as a flag would be written.
func (c *config) text(key string) string {
	v := c.values.Lookup(key).Value
	if list, isList := v.(pflag.SliceValue); isList {
		return strings.Join(list.GetSlice(), ",")
	}
	return v.String()
}

func (c *config) str(key string) string             { return value(c.values.GetString(key)) }
func (c *config) boolean(key string) bool           { return value(c.values.GetBool(key)) }
func (c *config) integer(key string) int            { return value(c.values.GetInt(key)) }
func (c *config) duration(key string) time.Duration { return value(c.values.GetDuration(key)) }
func (c *config) list(key string) []string          { return value(c.values.GetStringArray(key)) }
func (c *config) bytes(key string) int64            { return int64(*c.values.Lookup(key).Value.(*byteSize)) }

// value unwraps what a flag set answers: an error is a key or a type that this program itself got wrong.
func value[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
