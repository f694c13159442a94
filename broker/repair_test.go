package broker

import (
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

func planeOf(t *testing.T, b *Broker) stateconnect.StateServiceClient {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return stateconnect.NewStateServiceClient(&http.Client{Transport: transport}, "http://"+b.StateAddr().String())
}

// A broker answers what a repair asks, until two replicas agree against it, and again when an operator has looked.
func TestNothingIsRepairedWhileReplicasDispute(t *testing.T) {
	b := startBroker(t)
	l := b.ledger(t, nil)
	l.add(0, change{"a", 1}, change{"b", 2})
	cut, err := b.keyframer.Cut(t.Context(), "ledger")
	require.NoError(t, err)
	plane := planeOf(t, b)
	cells := func() (int, error) {
		stream, err := plane.Sketch(t.Context(), connect.NewRequest(&state.SketchRequest{Topic: "ledger", Cut: cut.Frames[0].Cut, Cells: 64}))
		require.NoError(t, err)
		defer stream.Close()
		if !stream.Receive() {
			return 0, stream.Err()
		}
		cells, err := sketch.Parse(stream.Msg().Cells, 0, 2)
		return len(cells), err
	}
	n, err := cells()
	require.NoError(t, err)
	require.Equal(t, 64, n)

	list, err := plane.Frames(t.Context(), connect.NewRequest(&state.FramesRequest{Topic: "ledger"}))
	require.NoError(t, err)
	require.True(t, list.Receive())
	frame := list.Msg().Frames[0]
	require.NoError(t, list.Close())
	for _, name := range []string{"one", "two"} {
		_, err := plane.Report(t.Context(), connect.NewRequest(&state.ReportRequest{Topic: "ledger", Replica: name, Partitions: []*state.ReplicaPartition{{
			Incarnation: frame.Incarnation, Position: frame.Cut, Phase: "following", Outcome: state.Outcome_OUTCOME_DRIFTED,
			Compared: &state.Point{Offset: frame.Cut, Count: 1, Sum: make([]byte, 32)},
		}}}))
		require.NoError(t, err)
	}
	_, err = cells()
	require.Equal(t, connect.CodeFailedPrecondition, connect.CodeOf(err), err)
	require.ErrorContains(t, err, "keyframe check")

	_, err = plane.ClearDispute(t.Context(), connect.NewRequest(&state.ClearDisputeRequest{Topic: "ledger"}))
	require.NoError(t, err)
	n, err = cells()
	require.NoError(t, err)
	require.Equal(t, 64, n)
}
