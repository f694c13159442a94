package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// setting is one thing that a user can set by flag, by KEYFRAME_* variable or in the YAML file, always under the same name.
type setting struct {
	key   string // flag and YAML name; the variable is KEYFRAME_ with upper case and underscores
	value any    // default: string, bool, int, time.Duration, byteSize or []string
	usage string
}

// settings lists everything that can be set. Lists of names stay lists: viper lowercases map keys.
func settings() []setting {
	return []setting{
		{"kafka-addr", "127.0.0.1:9092", "address of the Kafka protocol (the data plane)"},
		{"advertised-addr", "", "host:port that clients are told to connect to (default: localhost and the port of kafka-addr)"},
		{"state-addr", "127.0.0.1:9094", "address of the state plane: key frames, state, metrics, health"},
		{"data-dir", "keyframe-data", "directory of log and table"},
		{"insecure", false, "allow listening beyond loopback, without TLS and authentication"},
		{"log-level", "info", "debug, info, warn or error"},
		{"log-format", "text", "text or json"},
		{"auto-create-topics", true, "create a topic when a client asks for its metadata"},
		{"default-partitions", 1, "partitions of a topic that does not say"},
		{"fold", []string{}, "fold of new key-framed topics by name, PATTERN=FOLD, first match wins (repeatable)"},
		{"group-initial-rebalance-delay", 3 * time.Second, "how long the first rebalance of an empty group waits for more members"},
		{"memtable-size", byteSize(32 << 20), "Pebble memtable of the log"},
		{"tail-cache-size", byteSize(64 << 20), "memory for batches that consumers at the tail read"},
		{"interval-memory", byteSize(256 << 20), "memory of all open intervals before they are folded"},
		{"brokers", []string{"127.0.0.1:9092"}, "Kafka-protocol addresses that the tools talk to"},
		{"state-url", "http://127.0.0.1:9094", "state plane that the tools talk to"},
		{"format", "table", "output: table, json or jsonl"},
	}
}

const envPrefix = "KEYFRAME"

func envName(key string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

// addSettings declares the named settings as flags of a command.
func addSettings(cmd *cobra.Command, keys ...string) {
	all := settings()
	for _, key := range keys {
		i := slices.IndexFunc(all, func(s setting) bool { return s.key == key })
		if i < 0 {
			panic("undeclared setting " + key)
		}
		s, flags := all[i], cmd.Flags()
		switch v := s.value.(type) {
		case string:
			flags.String(key, v, s.usage)
		case bool:
			flags.Bool(key, v, s.usage)
		case int:
			flags.Int(key, v, s.usage)
		case time.Duration:
			flags.Duration(key, v, s.usage)
		case byteSize:
			flags.Var(&v, key, s.usage)
		case []string:
			flags.StringArray(key, v, s.usage)
		}
	}
}

// config is what flags, environment, file and defaults amount to for one command.
type config struct {
	viper *viper.Viper
	flags *pflag.FlagSet
	file  string
}

// loadConfig reads the sources and refuses what it does not know.
func loadConfig(cmd *cobra.Command) (*config, error) {
	c := &config{viper: viper.New(), flags: cmd.Flags()}
	known := map[string]bool{"config": true}
	for _, s := range settings() {
		known[s.key] = true
		value := s.value
		if size, ok := value.(byteSize); ok {
			value = size.String()
		}
		c.viper.SetDefault(s.key, value)
		if flag := c.flags.Lookup(s.key); flag != nil {
			if err := c.viper.BindPFlag(s.key, flag); err != nil {
				return nil, err
			}
		}
		if err := c.viper.BindEnv(s.key, envName(s.key)); err != nil {
			return nil, err
		}
	}
	if err := checkEnvironment(known); err != nil {
		return nil, err
	}
	c.file, _ = c.flags.GetString("config")
	if c.file == "" {
		c.file = os.Getenv(envName("config"))
	}
	if c.file == "" {
		return c, nil
	}
	c.viper.SetConfigFile(c.file)
	c.viper.SetConfigType("yaml")
	if err := c.viper.ReadInConfig(); err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", c.file, err)
	}
	for _, key := range c.viper.AllKeys() {
		if !known[key] {
			return nil, unknownKey("in "+c.file, key, settingKeys())
		}
	}
	return c, nil
}

func settingKeys() []string {
	var keys []string
	for _, s := range settings() {
		keys = append(keys, s.key)
	}
	return keys
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

// source tells where a setting's value comes from.
func (c *config) source(key string) string {
	if f := c.flags.Lookup(key); f != nil && f.Changed {
		return "flag --" + key
	}
	if _, ok := os.LookupEnv(envName(key)); ok {
		return "environment " + envName(key)
	}
	if c.viper.InConfig(key) {
		return "file " + c.file
	}
	return "default"
}

func (c *config) str(key string) string             { return c.viper.GetString(key) }
func (c *config) boolean(key string) bool           { return c.viper.GetBool(key) }
func (c *config) integer(key string) int            { return c.viper.GetInt(key) }
func (c *config) duration(key string) time.Duration { return c.viper.GetDuration(key) }

// list reads a repeatable flag or a YAML list; a variable holds it separated by commas.
func (c *config) list(key string) []string {
	var out []string
	for _, s := range c.viper.GetStringSlice(key) {
		for part := range strings.SplitSeq(strings.Trim(s, "[]"), ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

func (c *config) bytes(key string) (int64, error) {
	var n byteSize
	if err := n.Set(c.viper.GetString(key)); err != nil {
		return 0, fmt.Errorf("%s (%s): %w", key, c.source(key), err)
	}
	return int64(n), nil
}
