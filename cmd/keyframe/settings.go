package main

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
		{"advertised-addr", "", "host:port that clients are told to connect to (default: that of kafka-addr, localhost for 127.0.0.1 and for all addresses)"},
		{"state-addr", "127.0.0.1:9094", "address of the state plane: key frames, state, metrics, health"},
		{"data-dir", "keyframe-data", "directory of log and table"},
		{"insecure", false, "allow listening beyond loopback, without TLS and authentication"},
		{"log-level", "info", "debug, info, warn or error"},
		{"log-format", "text", "text or json"},
		{"auto-create-topics", true, "create a topic when a client asks for its metadata"},
		{"default-partitions", 1, "partitions of a topic that does not say"},
		{"fold", []string{}, "fold of new key-framed topics by name, PATTERN=FOLD, first match wins (repeatable)"},
		{"group-initial-rebalance-delay", 3 * time.Second, "how long the first rebalance of an empty group waits for more members"},
		{"transaction-max-timeout", 15 * time.Minute, "the longest time-out that a transactional producer may ask for"},
		{"memtable-size", byteSize(32 << 20), "Pebble memtable of the log"},
		{"tail-cache-size", byteSize(64 << 20), "memory for batches that consumers at the tail read"},
		{"interval-memory", byteSize(0), "memory of all open intervals before they are folded; 0: a sixteenth of what the process may have, from 64MiB to 1GiB"},
		{"scrub-rate", 10_000, "rows a second that are read back in the background and compared with their key frame; 0: none"},
		{"max-connections", 10_000, "Kafka connections; more are refused"},
		{"max-connections-per-ip", 0, "Kafka connections from one address; 0: as many as there may be"},
		{"connection-idle-timeout", 10 * time.Minute, "close a Kafka connection that asks for nothing"},
		{"connection-byte-rate", byteSize(0), "bytes received and fetched a second on one Kafka connection; 0: no bound"},
		{"connection-request-rate", 0, "requests a second on one Kafka connection; 0: no bound"},
		{"quota-producer-byte-rate", byteSize(0), "default quota of a client id: bytes produced a second; 0: none"},
		{"quota-consumer-byte-rate", byteSize(0), "default quota of a client id: bytes fetched a second; 0: none"},
		{"quota-request-percentage", 0, "default quota of a client id: percent of one thread's time; 0: none"},
		{"quota-controller-mutation-rate", 0, "default quota of a client id: partitions created and deleted a second; 0: none"},
		{"quota-connection-creation-rate", 0, "default quota of an address: connections a second; 0: none"},
		{"brokers", []string{"127.0.0.1:9092"}, "Kafka-protocol addresses that the tools talk to"},
		{"state-url", "http://127.0.0.1:9094", "state plane that the tools talk to"},
		{"format", "table", "output: table, json or jsonl"},
	}
}

const envPrefix = "KEYFRAME"

func envName(key string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

// declare adds the setting as a flag: the flag's type is what values from every source have to be.
func (s setting) declare(flags *pflag.FlagSet) {
	switch v := s.value.(type) {
	case string:
		flags.String(s.key, v, s.usage)
	case bool:
		flags.Bool(s.key, v, s.usage)
	case int:
		flags.Int(s.key, v, s.usage)
	case time.Duration:
		flags.Duration(s.key, v, s.usage)
	case byteSize:
		flags.Var(&v, s.key, s.usage)
	case []string:
		flags.StringArray(s.key, v, s.usage)
	}
}

// addSettings declares the named settings as flags of a command.
func addSettings(cmd *cobra.Command, keys ...string) {
	all := settings()
	for _, key := range keys {
		i := slices.IndexFunc(all, func(s setting) bool { return s.key == key })
		if i < 0 {
			panic("undeclared setting " + key)
		}
		all[i].declare(cmd.Flags())
		completeSetting(cmd, key)
	}
}

func settingKeys() []string {
	var keys []string
	for _, s := range settings() {
		keys = append(keys, s.key)
	}
	return keys
}

// expected says in words what a flag takes; the parsers' own errors speak of Go.
func expected(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "int", "int32", "int64":
		return "a whole number"
	case "duration":
		return "a duration with its unit, as 500ms, 3s or 10m"
	case "size":
		return "bytes or a binary unit, as 64MiB"
	}
	return "a " + f.Value.Type()
}
