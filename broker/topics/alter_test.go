package topics

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func TestAlter(t *testing.T) {
	lists := func(name string) (string, bool) { return map[string]string{"list": "a,b"}[name], name == "list" }
	for _, test := range []struct {
		set     map[string]string
		changes []Change
		want    map[string]string
	}{
		{nil, nil, map[string]string{}},
		{nil, []Change{{Name: "x", Value: "1"}}, map[string]string{"x": "1"}},
		{map[string]string{"x": "1", "y": "2"}, []Change{{Name: "x", Op: OpDelete}, {Name: "z", Op: OpDelete}}, map[string]string{"y": "2"}},
		{nil, []Change{{"list", OpAppend, "b, c"}}, map[string]string{"list": "a,b,c"}},
		{map[string]string{"list": ""}, []Change{{"list", OpAppend, "c"}}, map[string]string{"list": "c"}},
		{map[string]string{"list": "c,d"}, []Change{{"list", OpSubtract, "d,e"}}, map[string]string{"list": "c"}},
		{nil, []Change{{"list", OpSubtract, "b,a"}}, map[string]string{"list": ""}},
	} {
		got, err := Alter(test.set, test.changes, lists)
		require.NoError(t, err)
		require.Equal(t, test.want, got)
	}
	for _, op := range []Op{OpAppend, OpSubtract} {
		_, err := Alter(nil, []Change{{"x", op, "1"}}, lists)
		var bad *ConfigError
		require.ErrorAs(t, err, &bad)
		require.Contains(t, bad.Reason, op.String())
	}
}

func TestAlterConfigs(t *testing.T) {
	fs := vfs.NewMem()
	t.Run("before", func(t *testing.T) {
		r := open(t, fs, nil)
		topic := mustCreate(t, r, "t", 1, "retention.ms", "5")
		changed := 0
		r.AddHooks(Hooks{Changed: func(*Topic) { changed++ }})
		require.NoError(t, r.AlterConfigs(t.Context(), "t", []Change{{Name: "segment.ms", Value: "7"}, {Name: "retention.ms", Op: OpDelete}}, true))
		require.Zero(t, changed)
		require.Equal(t, map[string]string{"retention.ms": "5"}, topic.Config().Set())
		require.NoError(t, r.AlterConfigs(t.Context(), "t", []Change{{Name: "segment.ms", Value: "7"}, {Name: "retention.ms", Op: OpDelete}}, false))
		require.Equal(t, 1, changed)
		require.Error(t, r.AlterConfigs(t.Context(), "t", []Change{{Name: "segment.ms", Value: "8"}, {Name: "retention.ms", Value: "x"}}, false))
		require.ErrorIs(t, r.AlterConfigs(t.Context(), "u", nil, false), ErrNotFound)
	})
	topic, _ := open(t, fs, nil).Get("t")
	require.Equal(t, map[string]string{"segment.ms": "7"}, topic.Config().Set())
}

func TestDefaults(t *testing.T) {
	r := open(t, vfs.NewMem(), nil)
	own, inherits := mustCreate(t, r, "own", 1, "retention.ms", "5"), mustCreate(t, r, "inherits", 1)
	var changed []string
	r.AddHooks(Hooks{Changed: func(topic *Topic) { changed = append(changed, topic.Name) }})
	require.NoError(t, r.SetDefaults(t.Context(), Defaults{"retention.ms": "7"}, nil))
	require.Equal(t, []string{"inherits", "own"}, changed)
	require.Equal(t, int64(5), own.Config().RetentionMs)
	require.Equal(t, int64(7), inherits.Config().RetentionMs)
	value, set := inherits.Config().Value("retention.ms")
	require.Equal(t, "7", value)
	require.False(t, set)
	require.Equal(t, int64(7), mustCreate(t, r, "later", 1).Config().RetentionMs)
	require.NoError(t, r.AlterConfigs(t.Context(), "inherits", []Change{{Name: "segment.ms", Value: "9"}}, false))
	require.Equal(t, int64(7), inherits.Config().RetentionMs)

	var bad *ConfigError
	for _, d := range []Defaults{{"retention.ms": "x"}, {"no.such": "1"}, {minLagConfig: "7", maxLagConfig: "6"}} {
		require.ErrorAs(t, r.SetDefaults(t.Context(), d, nil), &bad)
		require.ErrorAs(t, r.CheckDefaults(d), &bad)
	}
	require.Equal(t, int64(7), inherits.Config().RetentionMs)
	require.NoError(t, r.SetDefaults(t.Context(), nil, nil))
	require.Equal(t, int64(604800000), inherits.Config().RetentionMs)
}

// A default that does not fit what a topic sets keeps more rather than the topic from opening.
func TestDefaultsAgainstATopic(t *testing.T) {
	r := open(t, vfs.NewMem(), nil)
	topic := mustCreate(t, r, "t", 1, maxLagConfig, "5")
	require.NoError(t, r.SetDefaults(t.Context(), Defaults{minLagConfig: "7"}, nil))
	require.Equal(t, int64(7), topic.Config().MaxCompactionLagMs)
	var bad *ConfigError
	require.ErrorAs(t, r.AlterConfigs(t.Context(), "t", []Change{{Name: maxLagConfig, Value: "6"}}, false), &bad)
}

func TestMaxCompactionLagBoundsTheDeltas(t *testing.T) {
	for _, test := range []struct {
		retention, lag string
		want           int64
	}{{"100", "9223372036854775807", 100}, {"100", "50", 50}, {"100", "200", 100}, {"-1", "50", 50}, {"-1", "9223372036854775807", -1}} {
		c, err := ParseConfig(map[string]string{"cleanup.policy": "compact", "keyframe.delta.retention.ms": test.retention, maxLagConfig: test.lag}, nil)
		require.NoError(t, err)
		require.Equal(t, test.want, c.DeltaRetentionMs)
	}
	_, err := ParseConfig(map[string]string{minLagConfig: "10", maxLagConfig: "5"}, nil)
	require.ErrorContains(t, err, "conflict topic config setting")
}

// An older program may have stored what is out of today's range; where it has no effect the topic opens.
func TestStoredConfigsWithoutEffectAreNotCheckedAgain(t *testing.T) {
	_, err := parseConfig(map[string]string{"segment.bytes": "1024"}, nil, true)
	require.NoError(t, err)
	_, err = ParseConfig(map[string]string{"segment.bytes": "1024"}, nil)
	require.Error(t, err)
	_, err = parseConfig(map[string]string{"retention.ms": "x"}, nil, true)
	require.Error(t, err)
}

// What made records go can be found in the log.
func TestConfigChangesAreLogged(t *testing.T) {
	var logged bytes.Buffer
	r := open(t, vfs.NewMem(), func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	mustCreate(t, r, "t", 1, "retention.ms", "1000", "flush.ms", "5")
	logged.Reset()
	changes := []Change{{Name: "retention.ms", Value: "2000"}, {Name: "flush.ms", Op: OpDelete}, {Name: "cleanup.policy", Value: "compact,delete"}}
	require.NoError(t, r.AlterConfigs(t.Context(), "t", changes, true))
	require.Empty(t, logged.String(), "only asked")
	require.NoError(t, r.AlterConfigs(t.Context(), "t", changes, false))
	require.Contains(t, logged.String(), `"topic configs changed" topic=t set="[cleanup.policy=compact,delete retention.ms=2000]" unset=[flush.ms]`)
	logged.Reset()
	require.NoError(t, r.AlterConfigs(t.Context(), "t", changes, false))
	require.Empty(t, logged.String(), "nothing changed")
}
