package configs

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/log"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a store over a database.
func open(t *testing.T, fs vfs.FS, change func(*Options)) (*Store, *topics.Registry) {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	c, err := catalog.Open(db, time.Now, rand.Reader)
	require.NoError(t, err)
	l, err := log.Open(log.Config{DB: db})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	r, err := topics.Open(topics.Options{Catalog: c, Log: l, RetentionCheck: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	opts := Options{Catalog: c, Registry: r}
	if change != nil {
		change(&opts)
	}
	s, err := Open(t.Context(), opts)
	require.NoError(t, err)
	return s, r
}

func set(name, value string) []topics.Change { return []topics.Change{{Name: name, Value: value}} }

// What was changed holds after a restart, for topics too.
func TestDynamicConfigsSurviveARestart(t *testing.T) {
	fs := vfs.NewMem()
	t.Run("before", func(t *testing.T) {
		s, r := open(t, fs, nil)
		topic, err := r.Create(t.Context(), topics.Spec{Name: "t", Partitions: 1})
		require.NoError(t, err)
		require.NoError(t, s.Alter(t.Context(), Resource{Broker, ""}, set("log.retention.ms", " 5000 "), false))
		require.Equal(t, int64(5000), topic.Config().RetentionMs)
		require.NoError(t, s.Alter(t.Context(), Resource{Broker, "1"}, set("message.max.bytes", "2000"), false))
		require.NoError(t, s.Alter(t.Context(), Resource{Group, "g"}, set(groupSession, "46000"), false))
	})
	s, r := open(t, fs, nil)
	topic, _ := r.Get("t")
	require.Equal(t, int64(5000), topic.Config().RetentionMs)
	require.Equal(t, 2000, topic.Config().MaxMessageBytes)
	require.Equal(t, "5000", s.Get("log.retention.ms"))
	require.Equal(t, "46000", s.Group("g", groupSession))
	require.Equal(t, "45000", s.Group("h", groupSession))
	require.Equal(t, []Resource{{Broker, "1"}, {Logger, "1"}, {Group, "g"}}, s.Resources(Broker, Logger, ClientMetrics, Group))
	require.NoError(t, s.Alter(t.Context(), Resource{Broker, ""}, []topics.Change{{Name: "log.retention.ms", Op: topics.OpDelete}}, false))
	require.Equal(t, int64(604800000), topic.Config().RetentionMs)
	require.Empty(t, s.Get("log.retention.ms"))
}

// The broker's value of a config of ours is a topic's default too.
func TestMaxDecompressedBytesOfAllTopics(t *testing.T) {
	s, r := open(t, vfs.NewMem(), nil)
	topic, err := r.Create(t.Context(), topics.Spec{Name: "t", Partitions: 1})
	require.NoError(t, err)
	require.NoError(t, s.Alter(t.Context(), Resource{Broker, ""}, set("keyframe.max.decompressed.bytes", "1000"), false))
	require.Equal(t, 1000, topic.Config().MaxDecompressedBytes)
	require.Error(t, s.Alter(t.Context(), Resource{Broker, ""}, set("keyframe.max.decompressed.bytes", "67108865"), false))
}

func TestStaticConfigs(t *testing.T) {
	s, _ := open(t, vfs.NewMem(), func(o *Options) {
		o.Static = map[string]string{"log.dirs": "/data", "num.partitions": "3", "group.max.size": "2147483647"}
	})
	require.Equal(t, []Synonym{{"num.partitions", "3", SourceStatic}, {"num.partitions", "1", SourceDefault}}, s.Chain("num.partitions"))
	require.Equal(t, []Synonym{{"log.dirs", "/data", SourceStatic}}, s.Chain("log.dirs"))
	require.Equal(t, []Synonym{{"group.max.size", "2147483647", SourceDefault}}, s.Chain("group.max.size"), "nobody set it")
	require.Empty(t, s.Chain("no.such"))
	_, err := Open(t.Context(), Options{Catalog: s.opts.Catalog, Registry: s.opts.Registry, Static: map[string]string{"no.such": "1"}})
	require.Error(t, err)
}

// Names that nobody knows are refused with the nearest one, where Kafka would keep them: a typing error must not pass for a change.
func TestUnknownBrokerConfig(t *testing.T) {
	s, _ := open(t, vfs.NewMem(), nil)
	var bad *topics.ConfigError
	require.ErrorAs(t, s.Alter(t.Context(), Resource{Broker, ""}, set("log.retension.ms", "1"), false), &bad)
	require.Contains(t, bad.Reason, "did you mean log.retention.ms?")
}

// cleanup.policy decides what records mean, so no default for topics that are there may change it.
func TestCleanupPolicyIsNoDynamicDefault(t *testing.T) {
	s, _ := open(t, vfs.NewMem(), nil)
	var refused *RequestError
	require.ErrorAs(t, s.Alter(t.Context(), Resource{Broker, ""}, set("log.cleanup.policy", "compact"), false), &refused)
}

func TestNamesOfResources(t *testing.T) {
	s, _ := open(t, vfs.NewMem(), nil)
	var refused *RequestError
	require.ErrorAs(t, s.Alter(t.Context(), Resource{Group, strings.Repeat("g", nameBytesMax+1)}, set(groupSession, "46000"), false), &refused)
	require.NoError(t, s.Alter(t.Context(), Resource{Group, strings.Repeat("g", nameBytesMax)}, set(groupSession, "46000"), false))
}

func TestLogLevel(t *testing.T) {
	level := new(slog.LevelVar)
	s, _ := open(t, vfs.NewMem(), func(o *Options) { o.LogLevel = level })
	for _, name := range []string{"DEBUG", "ERROR", "INFO", "WARN"} {
		want := map[string]slog.Level{"DEBUG": slog.LevelDebug, "ERROR": slog.LevelError, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn}[name]
		require.NoError(t, s.Alter(t.Context(), Resource{Logger, "1"}, set(rootLogger, name), true))
		require.NotEqual(t, want, level.Level())
		require.NoError(t, s.Alter(t.Context(), Resource{Logger, "1"}, set(rootLogger, name), false))
		require.Equal(t, want, level.Level())
		values, err := s.Describe(Resource{Logger, "1"})
		require.NoError(t, err)
		require.Equal(t, name, *values[0].Value)
	}
}

func TestTables(t *testing.T) {
	s, _ := open(t, vfs.NewMem(), nil)
	for kind, table := range s.tables {
		for i, d := range table {
			require.NotEmpty(t, d.doc, d.name)
			require.NotZero(t, d.kind, d.name)
			if d.value != nil && d.check != nil {
				require.NoError(t, d.check(*d.value), d.name)
			}
			if i > 0 {
				require.NotEqual(t, table[i-1].name, d.name, kind)
			}
			if d.synonym != "" {
				require.NotEmpty(t, s.Chain(d.synonym), d.name)
			}
		}
	}
	for _, d := range topics.Definitions() {
		if d.Synonym != "" {
			_, ok := s.tables[Broker].lookup(d.Synonym)
			require.True(t, ok, d.Synonym)
		}
	}
}

func TestChangesAreLogged(t *testing.T) {
	var logged strings.Builder
	s, _ := open(t, vfs.NewMem(), func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	require.NoError(t, s.Alter(t.Context(), Resource{Broker, "1"}, set("log.retention.ms", "5000"), false))
	require.NoError(t, s.Alter(t.Context(), Resource{Broker, "1"}, []topics.Change{{Name: "log.retention.ms", Op: topics.OpDelete}}, false))
	require.Contains(t, logged.String(), `"broker configs changed" name=1 set="[log.retention.ms=5000]" unset=[]`)
	require.Contains(t, logged.String(), `"broker configs changed" name=1 set=[] unset=[log.retention.ms]`)
}

// A default that no topic could have is refused, also where it is only asked about.
func TestDefaultsThatCannotBe(t *testing.T) {
	s, _ := open(t, vfs.NewMem(), nil)
	bad := []topics.Change{{Name: "log.cleaner.min.compaction.lag.ms", Value: "7"}, {Name: "log.cleaner.max.compaction.lag.ms", Value: "6"}}
	var refused *topics.ConfigError
	for _, validateOnly := range []bool{true, false} {
		require.ErrorAs(t, s.Alter(t.Context(), Resource{Broker, ""}, bad, validateOnly), &refused)
	}
	require.NoError(t, s.Alter(t.Context(), Resource{Broker, ""}, bad[:1], true))
	require.Equal(t, "0", s.Get(bad[0].Name))
}

// A resource whose last config is gone is listed no more.
func TestResourcesWithoutConfigsAreGone(t *testing.T) {
	s, _ := open(t, vfs.NewMem(), nil)
	g := Resource{Group, "g"}
	require.NoError(t, s.Alter(t.Context(), g, set(groupSession, "46000"), false))
	require.Equal(t, []Resource{g}, s.Resources(Group))
	require.NoError(t, s.Alter(t.Context(), g, []topics.Change{{Name: groupSession, Op: topics.OpDelete}}, false))
	require.Empty(t, s.Resources(Group))
}

// What a caller no longer wants, or cannot be stored, is nowhere.
func TestADefaultThatIsNotDurable(t *testing.T) {
	s, r := open(t, vfs.NewMem(), nil)
	topic, err := r.Create(t.Context(), topics.Spec{Name: "t", Partitions: 1})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Alter(ctx, Resource{Broker, ""}, set("log.retention.ms", "5000"), false), context.Canceled)
	stored, err := s.opts.Catalog.ResourceConfigs()
	require.NoError(t, err)
	require.Empty(t, stored)
	require.Empty(t, s.Get("log.retention.ms"))

	broken := errors.New("broken")
	require.ErrorIs(t, r.SetDefaults(t.Context(), topics.Defaults{"retention.ms": "5000"}, func() error { return broken }), broken)
	require.Equal(t, int64(604800000), topic.Config().RetentionMs)
}

// The expressions of a subscription are the clients', and bounded as all of theirs.
func TestMatchesOfClientMetricsAreBounded(t *testing.T) {
	s, _ := open(t, vfs.NewMem(), nil)
	r := Resource{ClientMetrics, "m"}
	require.NoError(t, s.Alter(t.Context(), r, set("match", "client_id=app-.*, client_source_port=9\\d+"), false))
	var refused *topics.ConfigError
	for _, match := range []string{"client_id=(", "client=a", "client_id", "client_id=" + strings.Repeat("x{1000}", 1000)} {
		require.ErrorAs(t, s.Alter(t.Context(), r, set("match", match), false), &refused, "%.40s", match)
	}
}
