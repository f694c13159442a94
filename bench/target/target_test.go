package target_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/target"
)

// A broker of Kafka's knows a topic a moment after it was made; one that nobody makes is waited for as long as the context says.
func TestATopicIsWaitedFor(t *testing.T) {
	to := benchtest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := to.Known(ctx, "later")
	require.Error(t, err)
	told := make(chan string, 1)
	go func() {
		durability, err := to.Known(t.Context(), "later")
		if err != nil {
			durability = err.Error()
		}
		told <- durability
	}()
	answer, err := to.Admin().CreateTopic(t.Context(), 1, 1, nil, "later")
	require.NoError(t, errors.Join(err, answer.Err))
	require.Equal(t, "fsync before the acknowledgement", <-told)
}

// What an acknowledgement means is told by the broker, not by what it was asked for.
func TestDurabilityIsTold(t *testing.T) {
	to := benchtest.Start(t)
	for flush, told := range map[target.Flush]string{
		target.FlushDefault: "fsync before the acknowledgement",
		target.FlushEach:    "fsync before the acknowledgement",
		target.FlushSystem:  "page cache: acknowledged once written, fsync is left to the system",
	} {
		topic, err := to.Create(t.Context(), target.Topic{Name: "t", Partitions: 2, Flush: flush})
		require.NoError(t, err)
		require.Equal(t, told, topic.Durability)
		_, err = to.Create(t.Context(), target.Topic{Name: "t", Partitions: 2})
		require.ErrorContains(t, err, "topic t", "it is there")
		require.NoError(t, topic.Drop(t.Context()))
	}
	topic, err := to.Create(t.Context(), target.Topic{Name: "t", Partitions: 1, Configs: map[string]string{"flush.messages": "1000", "flush.ms": "50"}})
	require.NoError(t, err)
	require.Equal(t, "acknowledged once written, fsync after 1000 records or 50 ms", topic.Durability)
	require.NoError(t, topic.Alter(t.Context(), map[string]string{"retention.ms": "1000"}))
	require.Error(t, topic.Alter(t.Context(), map[string]string{"retention.ms": "soon"}))
}

func TestTheBrokerOfThisMachineIsFound(t *testing.T) {
	to := benchtest.Start(t)
	require.NotNil(t, to.Process)
	require.Equal(t, os.Getpid(), to.Process.PID)
	require.Equal(t, "keyframe", to.Name)
	require.True(t, target.HasStatePlane(t.Context(), to.StateURL))
	dir, err := to.DataDir(t.Context())
	require.NoError(t, err)
	require.DirExists(t, dir)
	meter, err := to.Meter()
	require.NoError(t, err)
	require.NoError(t, meter.Stop())
	require.GreaterOrEqual(t, meter.CPU().Nanoseconds(), int64(0))
}

func TestNobodyThere(t *testing.T) {
	_, err := target.Open(t.Context(), target.Config{Brokers: []string{"127.0.0.1:1"}})
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.False(t, target.HasStatePlane(t.Context(), "http://127.0.0.1:1"))
}
