package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/broker/raw"
)

// TestFranzGo: an unmodified client writes and reads with every codec.
func TestFranzGo(t *testing.T) {
	b := startOwn(t, options{})
	tp := raw.CreateTopic(b.Dial(t), 3)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	const each = 500
	want := map[string]string{}
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		p, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.DefaultProduceTopic(tp.Name), kgo.ProducerBatchCompression(codec))
		require.NoError(t, err)
		var records []*kgo.Record
		for i := range each {
			key, value := fmt.Sprintf("%s-%d", name, i), strings.Repeat(name, i%50)
			want[key] = value
			records = append(records, &kgo.Record{Key: []byte(key), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "codec", Value: []byte(name)}}})
		}
		require.NoError(t, p.ProduceSync(ctx, records...).FirstErr())
		p.Close()
	}
	for _, sessions := range []bool{true, false} {
		opts := []kgo.Opt{kgo.SeedBrokers(b.Addr), kgo.ConsumeTopics(tp.Name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
		if !sessions {
			opts = append(opts, kgo.DisableFetchSessions())
		}
		c, err := kgo.NewClient(opts...)
		require.NoError(t, err)
		got := map[string]string{}
		for len(got) < len(want) {
			fetches := c.PollFetches(ctx)
			require.NoError(t, fetches.Err())
			fetches.EachRecord(func(r *kgo.Record) {
				got[string(r.Key)] = string(r.Value)
				require.Equal(t, "codec", r.Headers[0].Key)
			})
		}
		c.Close()
		require.Equal(t, want, got)
	}
}

// TestKcat: librdkafka, from a process of its own.
func TestKcat(t *testing.T) {
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("SKIPPED: kcat is not installed; apt-get install kcat")
	}
	b := startOwn(t, options{})
	tp := raw.CreateTopic(b.Dial(t), 2)
	run := func(in string, args ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, kcat, append([]string{"-b", b.Addr}, args...)...)
		cmd.Stdin = strings.NewReader(in)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		require.NoError(t, cmd.Run(), errs.String())
		return out.String()
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		run("k1:"+codec+"\nk2:"+codec+"\n", "-P", "-t", tp.Name, "-K:", "-z", codec, "-p", "0", "-X", "enable.idempotence=true")
	}
	out := run("", "-C", "-t", tp.Name, "-p", "0", "-o", "beginning", "-e", "-q", "-f", "%o %k %s\n")
	require.Equal(t, "0 k1 none\n1 k2 none\n2 k1 gzip\n3 k2 gzip\n4 k1 snappy\n5 k2 snappy\n6 k1 lz4\n7 k2 lz4\n8 k1 zstd\n9 k2 zstd\n", out)
	require.Contains(t, run("", "-L", "-t", tp.Name), "with 2 partitions")
	require.Contains(t, run("", "-Q", "-t", tp.Name+":0:-1"), "offset 10")
}
