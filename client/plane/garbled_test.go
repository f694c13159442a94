package plane

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// answers has an answer to every call, or the same error.
type answers struct {
	stateconnect.UnimplementedStateServiceHandler
	err error
}

func answer[M any](a *answers) (*connect.Response[M], error) {
	if a.err != nil {
		return nil, a.err
	}
	return connect.NewResponse(new(M)), nil
}

func (a *answers) Resume(context.Context, *connect.Request[state.ResumeRequest]) (*connect.Response[state.ResumeResponse], error) {
	r, err := answer[state.ResumeResponse](a)
	if err == nil {
		r.Msg.Why = "an answer that is long enough to have bits in its middle"
	}
	return r, err
}

func (a *answers) RenewLease(context.Context, *connect.Request[state.RenewLeaseRequest]) (*connect.Response[state.RenewLeaseResponse], error) {
	r, err := answer[state.RenewLeaseResponse](a)
	if err == nil {
		r.Msg.Lease = &state.Lease{Topic: "t", Replica: "an answer that is long enough to have bits in its middle"}
	}
	return r, err
}

func (a *answers) DigestAt(context.Context, *connect.Request[state.DigestAtRequest]) (*connect.Response[state.DigestAtResponse], error) {
	r, err := answer[state.DigestAtResponse](a)
	if err == nil {
		r.Msg.Sum = make([]byte, 32)
	}
	return r, err
}

func (a *answers) Cut(context.Context, *connect.Request[state.CutRequest]) (*connect.Response[state.CutResponse], error) {
	r, err := answer[state.CutResponse](a)
	if err == nil {
		r.Msg.Name = "an answer that is long enough to have bits in its middle"
	}
	return r, err
}

func (a *answers) Report(context.Context, *connect.Request[state.ReportRequest]) (*connect.Response[state.ReportResponse], error) {
	r, err := answer[state.ReportResponse](a)
	if err == nil {
		r.Msg.Disputed = make([]int32, 40)
	}
	return r, err
}

func (a *answers) Frames(_ context.Context, _ *connect.Request[state.FramesRequest], s *connect.ServerStream[state.FramesResponse]) error {
	if a.err != nil {
		return a.err
	}
	return s.Send(&state.FramesResponse{Partitions: []*state.Partition{{Failure: "an answer that is long enough"}}})
}

func (a *answers) Sketch(_ context.Context, _ *connect.Request[state.SketchRequest], s *connect.ServerStream[state.SketchResponse]) error {
	if a.err != nil {
		return a.err
	}
	return s.Send(&state.SketchResponse{Cells: make([]byte, 40)})
}

func (a *answers) Tags(_ context.Context, _ *connect.Request[state.TagsRequest], s *connect.ServerStream[state.TagsResponse]) error {
	if a.err != nil {
		return a.err
	}
	return s.Send(&state.TagsResponse{Tags: make([]byte, 40)})
}

func (a *answers) Resolve(_ context.Context, _ *connect.Request[state.ResolveRequest], s *connect.ServerStream[state.ResolveResponse]) error {
	if a.err != nil {
		return a.err
	}
	return s.Send(&state.ResolveResponse{Unknown: make([]byte, 40)})
}

func (a *answers) Diff(_ context.Context, _ *connect.Request[state.DiffRequest], s *connect.ServerStream[state.DiffResponse]) error {
	if a.err != nil {
		return a.err
	}
	return s.Send(&state.DiffResponse{Next: &state.Cursor{Key: make([]byte, 40)}})
}

func (a *answers) Scan(_ context.Context, _ *connect.Request[state.ScanRequest], s *connect.ServerStream[state.ScanResponse]) error {
	if a.err != nil {
		return a.err
	}
	return s.Send(&state.ScanResponse{Next: &state.Cursor{Key: make([]byte, 40)}})
}

// damaging is a transport that does something to the bytes of every answer.
type damaging func(b []byte, compressed bool) []byte

func (d damaging) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(d(b, resp.Header.Get("Content-Encoding") != "")))
	resp.ContentLength = -1
	resp.Header.Del("Content-Length")
	return resp, nil
}

// eachCall makes every call, of which on is told what came of it.
func eachCall(t *testing.T, p *Plane, on func(t *testing.T, err error)) {
	ctx := t.Context()
	r := &Repair{Plane: p}
	for name, call := range map[string]func() error{
		"resume":   func() error { _, err := p.Resume(ctx, &state.ResumeRequest{}); return err },
		"renew":    func() error { _, err := p.Renew(ctx, Lease{}, 0, false); return err },
		"digest":   func() error { _, _, err := p.DigestAt(ctx, 0, [16]byte{}, 0); return err },
		"cut":      func() error { _, err := p.Cut(ctx); return err },
		"cutabove": func() error { _, err := p.CutAbove(ctx, 0, 0); return err },
		"report":   func() error { _, err := p.Report(ctx, &state.ReportRequest{}); return err },
		"frames":   func() error { return p.Frames(ctx, nil, false, func([]Partition, []Frame) error { return nil }) },
		"list":     func() error { _, _, _, err := p.List(ctx); return err },
		"sketch":   func() error { _, _, err := r.Sketch(ctx, 0, 64); return err },
		"tags":     func() error { _, err := r.Tags(ctx); return err },
		"resolve":  func() error { return r.Resolve(ctx, nil, func(frame.Row) error { return nil }) },
		"diff":     func() error { return p.Diff(ctx, 0, [16]byte{}, 0, 0, func(Changed) error { return nil }) },
		"scan":     func() error { return p.Scan(ctx, 0, [16]byte{}, 0, func(frame.Row) error { return nil }) },
		"offsets":  func() error { _, err := p.Offsets(ctx, nil); return err },
	} {
		t.Run(name, func(t *testing.T) { on(t, call()) })
	}
}

func newAnswering(t *testing.T, err error, d damaging) *Plane {
	mux := http.NewServeMux()
	mux.Handle(stateconnect.NewStateServiceHandler(&answers{err: err}))
	s := httptest.NewServer(mux)
	t.Cleanup(func() { http.DefaultClient.CloseIdleConnections(); s.Close() })
	return New(&http.Client{Transport: d}, s.URL, "t")
}

// An answer that cannot be read is no word of the broker's, whichever call it is of: it is asked for again.
func TestADamagedAnswerIsNoRefusal(t *testing.T) {
	for name, damage := range map[string]damaging{
		"a bit of its middle": func(b []byte, _ bool) []byte { b[5+(len(b)-5)/4] ^= 4; return b },
		"its end":             func(b []byte, _ bool) []byte { return b[:len(b)/4] },
		"no message": func(b []byte, compressed bool) []byte {
			x := bytes.Repeat([]byte{0xff}, 50)
			if !compressed { // a stream: the first message, said not to be compressed
				return append([]byte{0, 0, 0, 0, 50}, x...)
			}
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			_, _ = w.Write(x)
			_ = w.Close()
			return out.Bytes()
		},
		"its length": func(b []byte, _ bool) []byte { b[1] ^= 0x40; return b },
	} {
		t.Run(name, func(t *testing.T) {
			eachCall(t, newAnswering(t, nil, damage), func(t *testing.T, err error) {
				require.Error(t, err)
				require.NotErrorIs(t, err, ErrRefused)
				require.True(t, Passing(err), "%v", err)
				require.True(t, Away(err), "%v", err)
			})
		})
	}
}

// What the broker says itself is its word: asking again does not help.
func TestAnInvalidArgumentIsARefusal(t *testing.T) {
	whole := func(b []byte, _ bool) []byte { return b }
	p := newAnswering(t, connect.NewError(connect.CodeInvalidArgument, errors.New("a name has 1 to 249 bytes")), whole)
	eachCall(t, p, func(t *testing.T, err error) {
		require.Equal(t, connect.CodeInvalidArgument, CodeOf(err))
		require.False(t, Passing(err), "%v", err)
	})
	_, err := p.Resume(t.Context(), &state.ResumeRequest{})
	require.ErrorIs(t, err, ErrRefused)
	_, err = newAnswering(t, connect.NewError(connect.CodePermissionDenied, nil), whole).Resume(t.Context(), &state.ResumeRequest{})
	require.ErrorIs(t, err, ErrRefused)
}
