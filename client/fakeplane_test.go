package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// fakePlane serves a fakeLog's state plane.
type fakePlane struct {
	stateconnect.UnimplementedStateServiceHandler
	log    *fakeLog
	url    string
	hidden atomic.Bool                                    // frames are not announced
	silent atomic.Bool                                    // ... to who follows; who asks is told
	alive  atomic.Int64                                   // alive_ms of who follows, which is not kept
	fault  atomic.Pointer[func(try int, b []byte) []byte] // of the frame's bytes that are left to send; a short result breaks the connection
	tries  atomic.Int64
	refuse atomic.Int64                                      // HTTP status instead of a frame; 0: none
	asked  atomic.Int64                                      // DigestAt
	before atomic.Pointer[func()]                            // of the next answer of DigestAt
	says   atomic.Pointer[func(digest.Digest) digest.Digest] // what DigestAt answers instead of the log's
	broken atomic.Bool                                       // DigestAt
	reports

	old    atomic.Bool                                                       // it knows no handshake
	alter  atomic.Pointer[func(*state.ResumeRequest, *state.ResumeResponse)] // each answer of Resume
	full   atomic.Pointer[func(*state.ResumeRequest) state.Reason]           // why it is refused; UNSPECIFIED: it is not
	leases fakeLeases
	repair fakeRepair
	past   fakePast
}

func newFakePlane(t interface{ Cleanup(func()) }, l *fakeLog) *fakePlane {
	p := &fakePlane{log: l}
	p.leases.lasts = time.Minute
	mux := http.NewServeMux()
	mux.Handle(stateconnect.NewStateServiceHandler(p))
	mux.HandleFunc("GET /v1/topics/{topic}/partitions/{p}/frames/{cut}", p.serveFrame)
	s := httptest.NewServer(mux)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	p.url = s.URL
	return p
}

func (f *fakePlane) serveFrame(w http.ResponseWriter, r *http.Request) {
	no, _ := strconv.Atoi(r.PathValue("p"))
	cut := int64(-1)
	if s := r.PathValue("cut"); s != "latest" {
		cut, _ = strconv.ParseInt(s, 10, 64)
	}
	since := int64(-1)
	if s := r.URL.Query().Get("since"); s != "" {
		since, _ = strconv.ParseInt(s, 10, 64)
	}
	data, pub, ok := f.log.encode(int32(no), cut, since)
	if !ok || r.PathValue("topic") != f.log.topic {
		http.Error(w, "no such frame", http.StatusNotFound)
		return
	}
	try := int(f.tries.Add(1))
	if status := f.refuse.Load(); status != 0 {
		http.Error(w, "no frame for you", int(status))
		return
	}
	etag := plane.Since(int32(no), cut, since).ETag(pub)
	w.Header().Set("ETag", etag)
	if match := r.Header.Get("If-Match"); match != "" && match != etag {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	fault := f.fault.Load()
	if fault == nil {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		return
	}
	from := 0
	if s := r.Header.Get("Range"); s != "" {
		_, _ = fmt.Sscanf(s, "bytes=%d-", &from)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		w.Header().Set("Content-Length", strconv.Itoa(len(data)-from))
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	}
	out := (*fault)(try, bytes.Clone(data[from:]))
	_, _ = w.Write(out)
	if len(out) < len(data)-from {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func (f *fakePlane) Frames(ctx context.Context, req *connect.Request[state.FramesRequest], s *connect.ServerStream[state.FramesResponse]) error {
	sent := map[string]bool{}
	for first := true; ; first = false {
		changed := f.log.changed.wait()
		m := f.framesMessage(first, f.hidden.Load() || f.silent.Load() && req.Msg.Follow, sent)
		if first && req.Msg.Follow {
			m.AliveMs = f.alive.Load()
		}
		if first || len(m.Frames) > 0 || len(m.Partitions) > 0 {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		if !req.Msg.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fakePlane) framesMessage(first, hidden bool, sent map[string]bool) *state.FramesResponse {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	m := &state.FramesResponse{}
	for p, part := range f.log.parts {
		id := f.log.frameID(p, 0)
		turns := f.repair.turns.Load()
		if came := fmt.Sprintf("partition %d, %d turns", p, turns); first || !sent[came] {
			sent[came] = true
			x := f.log.partitionLocked(p)
			x.Disputed = turns%2 == 1
			m.Partitions = append(m.Partitions, x)
		}
		if hidden {
			continue
		}
		for _, cut := range part.cuts {
			id = f.log.frameID(p, cut)
			key := fmt.Sprintf("%x/%d/%d/%d", id.Incarnation, p, cut, id.Start)
			if sent[key] {
				continue
			}
			sent[key] = true
			m.Frames = append(m.Frames, f.log.frameLocked(p, cut))
		}
	}
	return m
}

func (f *fakePlane) DigestAt(_ context.Context, req *connect.Request[state.DigestAtRequest]) (*connect.Response[state.DigestAtResponse], error) {
	f.asked.Add(1)
	if before := f.before.Swap(nil); before != nil {
		(*before)()
	}
	if f.broken.Load() {
		return nil, connect.NewError(connect.CodeInternal, errors.New("the disk is full"))
	}
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	m := req.Msg
	part := f.log.parts[m.Partition]
	switch {
	case part == nil:
		return nil, refuse(connect.CodeNotFound, state.Reason_REASON_UNKNOWN_PARTITION)
	case len(m.Incarnation) > 0 && !bytes.Equal(m.Incarnation, part.incarnation[:]):
		return nil, refuse(connect.CodeFailedPrecondition, state.Reason_REASON_OTHER_INCARNATION)
	case m.Offset < part.deltaStart:
		return nil, refuse(connect.CodeOutOfRange, state.Reason_REASON_BELOW_DELTA_START)
	case m.Offset > part.end:
		return nil, refuse(connect.CodeOutOfRange, state.Reason_REASON_ABOVE_LAST_STABLE)
	}
	d := digestOf(f.log.stateLocked(m.Partition, m.Offset))
	if says := f.says.Load(); says != nil {
		d = (*says)(d)
	}
	sum := d.Sum.Bytes()
	return connect.NewResponse(&state.DigestAtResponse{
		AsOf:  &state.AsOf{Partition: m.Partition, Incarnation: part.incarnation[:], Offset: m.Offset},
		Count: d.Count, Sum: sum[:], Start: part.startAt(m.Offset),
	}), nil
}
