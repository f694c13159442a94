package topics

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

func TestDefinitionsAreSortedDocumentedAndValid(t *testing.T) {
	require.True(t, slices.IsSortedFunc(definitions, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) }))
	for _, d := range definitions {
		require.NotEmpty(t, d.Doc, d.Name)
		require.NotZero(t, d.Type, d.Name)
		require.NotNil(t, d.check, d.Name)
		require.NoError(t, d.check(d.Default), d.Name)
		found, ok := Lookup(d.Name)
		require.True(t, ok)
		require.Equal(t, d.Name, found.Name)
	}
}

func TestDefaultConfig(t *testing.T) {
	c, err := ParseConfig(nil, nil)
	require.NoError(t, err)
	require.Equal(t, &Config{
		Delete: true, Fold: fold.LastValue, IntervalBytes: 64 << 20, IntervalMs: 60_000, IntervalRecords: -1, Retain: 24,
		DeltaRetentionMs: 24 * 3600_000, DeltaRetentionBytes: 1 << 30, MaxMessageBytes: 1048588, TimestampAfterMs: 3600_000,
		MaxDecompressedBytes: 64 << 20, FlushMessages: 1, Compression: Compression{Type: "producer", gzip: -1, lz4: 9, zstd: 3}, MaxCompactionLagMs: int64Max, TimestampBeforeMs: int64Max, MinInsyncReplicas: 1, RetentionMs: 7 * 24 * 3600_000, RetentionBytes: -1,
		DeleteRetentionMs: 24 * 3600_000, set: map[string]string{},
	}, c)
}

func TestCompactMakesATopicKeyFramed(t *testing.T) {
	c, err := ParseConfig(map[string]string{"cleanup.policy": " compact "}, nil)
	require.NoError(t, err)
	require.True(t, c.KeyFramed)
	require.False(t, c.Delete)
	c, err = ParseConfig(map[string]string{"cleanup.policy": ""}, nil)
	require.NoError(t, err)
	require.False(t, c.Delete || c.KeyFramed, "neither: kept for ever")
}

func TestUnknownConfigSuggests(t *testing.T) {
	for name, suggestion := range map[string]string{
		"retention.msec": "retention.ms", "cleanup-policy": "cleanup.policy", "keyframe.intervall.bytes": "keyframe.interval.bytes",
		"Retention.MS": "retention.ms", "entirely.different": "", "": "", strings.Repeat("x", 100_000): "",
	} {
		_, err := ParseConfig(map[string]string{name: "1"}, nil)
		var bad *ConfigError
		require.ErrorAs(t, err, &bad)
		if suggestion == "" {
			require.NotContains(t, err.Error(), "did you mean")
		} else {
			require.Contains(t, err.Error(), "did you mean "+suggestion+"?")
		}
	}
}

func TestConfigValues(t *testing.T) {
	c, err := ParseConfig(map[string]string{"retention.ms": " 5 "}, nil)
	require.NoError(t, err)
	require.Equal(t, int64(5), c.RetentionMs)
	value, set := c.Value("retention.ms")
	require.Equal(t, "5", value, "as it was understood")
	require.True(t, set)
	value, set = c.Value("retention.bytes")
	require.Equal(t, "-1", value)
	require.False(t, set)
	c.Set()["retention.ms"] = "changed"
	value, _ = c.Value("retention.ms")
	require.Equal(t, "5", value, "Set returns a copy")
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "A-b_c.9", strings.Repeat("x", 249), "..."} {
		require.NoError(t, CheckName(good))
	}
	for _, bad := range []string{"", ".", "..", "a b", "ü", "a/b", "a\x00", strings.Repeat("x", 250)} {
		var name *NameError
		require.ErrorAs(t, CheckName(bad), &name)
	}
}
