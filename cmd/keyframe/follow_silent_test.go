package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// silentStreams begins streams and tells nothing more, whatever it promised.
type silentStreams struct {
	stateconnect.UnimplementedStateServiceHandler
}

func (silentStreams) Watch(ctx context.Context, _ *connect.Request[state.WatchRequest], s *connect.ServerStream[state.WatchResponse]) error {
	if err := s.Send(&state.WatchResponse{AliveMs: 10}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (silentStreams) Frames(ctx context.Context, _ *connect.Request[state.FramesRequest], s *connect.ServerStream[state.FramesResponse]) error {
	if err := s.Send(&state.FramesResponse{AliveMs: 10}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// A command that follows ends where the stream falls silent, and says so.
func TestFollowingASilentStream(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(stateconnect.NewStateServiceHandler(silentStreams{}))
	s := httptest.NewServer(mux)
	defer s.Close()
	n := &node{state: s.URL}
	for _, args := range [][]string{{"state", "watch", "u"}, {"frames", "list", "u", "--follow", "--format", "jsonl"}} {
		_, err := n.try(t, "", args...)
		require.ErrorContains(t, err, "the state plane fell silent for 30ms")
		require.ErrorContains(t, err, s.URL)
	}
}
