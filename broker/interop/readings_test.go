package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What a topic gives: trimmed, the last of each key and what is behind, and compacted at some time, the last of each key at least.
func TestReadings(t *testing.T) {
	var all []*kgo.Record
	for offset, text := range []string{"a=1", "b=1", "a=2", "b=", "a=3"} {
		key, value, _ := strings.Cut(text, "=")
		r := &kgo.Record{Offset: int64(offset), Key: []byte(key), Value: []byte(value), Timestamp: time.UnixMilli(1000 + int64(offset))}
		if value == "" {
			r.Value, r.Headers = nil, []kgo.RecordHeader{{Key: "h", Value: []byte("x")}, {Key: "i"}}
		}
		all = append(all, r)
	}
	dir := t.TempDir()
	r := &readings{dir: dir, name: "test"}
	r.earliest("topic", 2)
	require.NoError(t, r.read("topic", -1, compacted(all, 4)))
	require.NoError(t, r.read("topic", 3, compactedSometime(all)))
	require.NoError(t, r.outOfRange("topic", 1, compactedSometime(all)))
	require.Equal(t, []string{
		"earliest\ttopic\t2\t-",
		"read\ttopic\tearliest\t" + dir + "/test-1.want",
		"read\ttopic\t3\t" + dir + "/test-2.want",
		"out-of-range\ttopic\t1\t" + dir + "/test-3.want",
	}, r.lines)
	const tail = "=3\t1003\t-1\th=x,i=\t\tb\n=4\t1004\t1\t\t3\ta\n"
	for name, want := range map[string]string{
		"test-1.want": "=2\t1002\t1\t\t2\ta\n" + tail,
		"test-2.want": tail,
		"test-3.want": "?0\t1000\t1\t\t1\ta\n?1\t1001\t1\t\t1\tb\n?2\t1002\t1\t\t2\ta\n" + tail,
	} {
		got, err := os.ReadFile(dir + "/" + name)
		require.NoError(t, err)
		require.Equal(t, want, string(got), name)
	}
}
