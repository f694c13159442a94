package main

import (
	"bytes"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
)

// That one partition stays as it is does not end the command before it is known which keys of the others differ.
func TestReplicaRunWaitsForEachPartitionThatDiffers(t *testing.T) {
	for policy, named := range map[string]client.EventKind{"report": client.KeysNamed, "halt": client.Stopped, "repair": client.RepairRefused} {
		synctest.Test(t, func(t *testing.T) {
			l := newReplicaLog(replicaLines{&bytes.Buffer{}}, policy != "report")
			l.expectAnswers(false)
			l.event(client.Event{Kind: named, Partition: 0})
			ended := make(chan int, 1)
			go func() { ended <- l.stay(t.Context(), []int32{0, 1}) }()
			synctest.Wait()
			require.Empty(t, ended, policy)
			l.event(client.Event{Kind: named, Partition: 1})
			synctest.Wait()
			require.Len(t, ended, 1, policy)
			require.Equal(t, 2, <-ended, policy)
		})
	}
}
