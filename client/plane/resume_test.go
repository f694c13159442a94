package plane

import (
	"context"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// answering answers every Resume with the same.
type answering struct {
	stateconnect.UnimplementedStateServiceHandler
	m *state.ResumeResponse
}

func (a *answering) Resume(context.Context, *connect.Request[state.ResumeRequest]) (*connect.Response[state.ResumeResponse], error) {
	return connect.NewResponse(a.m), nil
}

// resumed is what a replica at 7 with a state, or without one, is told where a log answers so.
func resumed(t *testing.T, stateless bool, m *state.ResumeResponse) (Answer, error) {
	_, handler := stateconnect.NewStateServiceHandler(&answering{m: m})
	s := httptest.NewServer(handler)
	defer s.Close()
	client := s.Client()
	defer client.CloseIdleConnections()
	req := &state.ResumeRequest{Topic: "t", Partition: 3}
	if !stateless {
		req.Incarnation, req.Points = make([]byte, 16), []*state.Point{{Offset: 7, Sum: make([]byte, 32)}, {Offset: 5, Sum: make([]byte, 32)}}
	}
	return New(client, s.URL, "t").Resume(t.Context(), req)
}

func frameAt(cut int64) *state.Frame { return frameOf(digest.FrameID{Partition: 3, Cut: cut}) }

// frameOf is an empty frame, whose pub agrees with what it is of.
func frameOf(id digest.FrameID) *state.Frame {
	var d digest.Digest
	sum, pub := d.Sum.Bytes(), d.Pub(id)
	return &state.Frame{Partition: id.Partition, Incarnation: id.Incarnation[:], TopicId: id.TopicID[:], Cut: id.Cut, Sum: sum[:], Pub: pub[:]}
}

// An answer that cannot be carried out from where the replica is, or is about something else, is none: the replica would follow from where it is not,
// or take for its state what was meant for another.
func TestAnswersThatMakeNoSense(t *testing.T) {
	const (
		none   = state.Answer_ANSWER_UNSPECIFIED
		goOn   = state.Answer_ANSWER_CONTINUE
		delta  = state.Answer_ANSWER_DELTA
		whole  = state.Answer_ANSWER_FRAME
		repair = state.Answer_ANSWER_REPAIR
		reset  = state.Answer_ANSWER_RESET
	)
	spoilt := frameAt(9)
	spoilt.Count = 7
	for name, c := range map[string]struct {
		stateless   bool
		kind        state.Answer
		from, since int64
		frame       *state.Frame
		partition   int32 // beside the one that was asked for
		ok          bool
	}{
		"go on":                             {kind: goOn, from: 7, ok: true},
		"go on below":                       {kind: goOn, from: 6},
		"go on above":                       {kind: goOn, from: 8},
		"begin":                             {kind: goOn, stateless: true, ok: true},
		"begin above":                       {kind: goOn, from: 4, stateless: true, ok: true},
		"begin nowhere":                     {kind: goOn, from: -1, stateless: true},
		"what changed":                      {kind: delta, since: 7, frame: frameAt(9), from: 9, ok: true},
		"nothing changed":                   {kind: delta, since: 7, frame: frameAt(7), from: 7, ok: true},
		"what changed since below":          {kind: delta, since: 6, frame: frameAt(9), from: 9},
		"what changed since above":          {kind: delta, since: 8, frame: frameAt(9), from: 9},
		"what changed since another point":  {kind: delta, since: 5, frame: frameAt(9), from: 9},
		"what changed up to below":          {kind: delta, since: 7, frame: frameAt(6), from: 6},
		"what changed without a frame":      {kind: delta, since: 7, from: 9},
		"what changed without a state":      {kind: delta, since: -1, frame: frameAt(9), from: 9, stateless: true},
		"a frame":                           {kind: whole, frame: frameAt(9), from: 9, ok: true},
		"a frame without a state":           {kind: whole, frame: frameAt(9), from: 9, stateless: true, ok: true},
		"a frame that is not there":         {kind: whole, from: 9},
		"a frame of another partition":      {kind: whole, frame: frameOf(digest.FrameID{Partition: 4, Cut: 9}), from: 9},
		"a frame of another incarnation":    {kind: whole, frame: frameOf(digest.FrameID{Partition: 3, Incarnation: [16]byte{1}, Cut: 9}), from: 9},
		"a frame of another topic":          {kind: whole, frame: frameOf(digest.FrameID{Partition: 3, TopicID: [16]byte{1}, Cut: 9}), from: 9},
		"a frame that is not what it says":  {kind: whole, frame: spoilt, from: 9},
		"a repair":                          {kind: repair, frame: frameAt(9), ok: true},
		"a repair without a state":          {kind: repair, frame: frameAt(9), stateless: true},
		"begin anew":                        {kind: reset, ok: true},
		"begin anew without a state":        {kind: reset, stateless: true},
		"another partition":                 {kind: goOn, from: 7, partition: 1},
		"nothing":                           {kind: none, from: 7},
		"what only a later version answers": {kind: 99, from: 7},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := resumed(t, c.stateless, &state.ResumeResponse{
				Answer: c.kind, From: c.from, Since: c.since, Frame: c.frame,
				Partition: &state.Partition{Partition: 3 + c.partition, Incarnation: make([]byte, 16), TopicId: make([]byte, 16)},
			})
			if !c.ok {
				require.ErrorIs(t, err, ErrBadAnswer)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.kind, a.Kind)
			require.Equal(t, c.from, a.From)
			require.Equal(t, c.frame == nil, a.Frame == nil)
		})
	}
	_, err := resumed(t, false, &state.ResumeResponse{Answer: goOn, From: 7})
	require.ErrorIs(t, err, ErrBadAnswer, "no partition")
}
