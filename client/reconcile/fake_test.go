package reconcile

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// fakeTopic is a topic with its state plane: last values in memory, of any partitioner.
type fakeTopic struct {
	stateconnect.UnimplementedStateServiceHandler
	url string

	mu    sync.Mutex
	parts []*fakePart
	cuts  int

	open int // so many cuts are held below the end by a transaction; guarded by mu

	calls  atomic.Int64                          // of Sketch, Tags, Resolve, and frames
	asked  map[string]int                        // by call; guarded by mu
	refuse func(call string) state.Reason        // UNSPECIFIED: it answers
	before func(call string)                     // each call
	cells  func([]sketch.Cell) []sketch.Cell     // what it sends in their place
	rows   func([]*state.Row) []*state.Row       // likewise
	tags   func(partition int32, tags []uint64)  // changes them
	frames func(partition int32, rows []fakeRow) // likewise, in frames that are loaded
	header func(fr *plane.Frame, since *int64)   // changes of what they say they are
}

type fakePart struct {
	incarnation [16]byte
	start, end  int64
	rows        map[string]fakeRow // tombstones too
	taken       map[int64][]fakeRow
	starts      map[int64]int64 // of those
}

type fakeRow struct {
	key, value string
	offset     int64
	gone       bool
}

func newFakeTopic(t testing.TB, partitions int) *fakeTopic {
	f := &fakeTopic{asked: map[string]int{}}
	for i := range partitions {
		f.parts = append(f.parts, &fakePart{incarnation: [16]byte{byte(i + 1)}, rows: map[string]fakeRow{}, taken: map[int64][]fakeRow{}, starts: map[int64]int64{}})
	}
	mux := http.NewServeMux()
	mux.Handle(stateconnect.NewStateServiceHandler(f))
	mux.HandleFunc("GET /v1/topics/t/partitions/{p}/frames/{cut}", f.serveFrame)
	s := httptest.NewServer(mux)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	f.url = s.URL
	return f
}

// write is a delta; "-" deletes.
func (f *fakeTopic) write(partition int, key, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parts[partition]
	p.rows[key] = fakeRow{key, value, p.end, value == "-"}
	p.end++
}

// expire moves the log start of a partition: rows below are gone.
func (f *fakeTopic) expire(partition int, start int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parts[partition]
	p.start = start
	maps.DeleteFunc(p.rows, func(_ string, row fakeRow) bool { return row.offset < start })
}

// state is the live rows of each partition.
func (f *fakeTopic) state() []map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]map[string]string, len(f.parts))
	for i, p := range f.parts {
		out[i] = map[string]string{}
		for _, row := range p.rows {
			if !row.gone {
				out[i][row.key] = row.value
			}
		}
	}
	return out
}

// forget takes away the frames that were cut so far.
func (f *fakeTopic) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.parts {
		clear(p.taken)
	}
}

func (f *fakeTopic) note(call string) error {
	f.mu.Lock()
	f.asked[call]++
	f.mu.Unlock()
	if f.before != nil {
		f.before(call)
	}
	if f.refuse == nil {
		return nil
	}
	why := f.refuse(call)
	if why == state.Reason_REASON_UNSPECIFIED {
		return nil
	}
	return refusal(why)
}

func refusal(why state.Reason) error {
	err := connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("%v", why))
	detail, _ := connect.NewErrorDetail(&state.ErrorDetail{Reason: why})
	err.AddDetail(detail)
	return err
}

func live(rows []fakeRow) (d digest.Digest) {
	var h digest.Hasher
	for _, row := range rows {
		if !row.gone {
			d.Add(h.Entry([]byte(row.key), []byte(row.value)))
		}
	}
	return d
}

func (f *fakeTopic) frameLocked(no int32, cut int64) *state.Frame {
	p := f.parts[no]
	d := live(p.taken[cut])
	id := digest.FrameID{TopicID: [16]byte{9}, Partition: no, Incarnation: p.incarnation, Cut: cut, Start: p.starts[cut]}
	pub, sum := d.Pub(id), d.Sum.Bytes()
	bytes := 0
	for _, row := range p.taken[cut] {
		if !row.gone {
			bytes += len(row.key) + len(row.value)
		}
	}
	return &state.Frame{
		Partition: no, TopicId: id.TopicID[:], Incarnation: p.incarnation[:], Cut: cut, Start: id.Start, Pub: pub[:], Sum: sum[:], Count: d.Count,
		Bytes: int64(bytes),
	}
}

func (f *fakeTopic) Frames(_ context.Context, _ *connect.Request[state.FramesRequest], s *connect.ServerStream[state.FramesResponse]) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &state.FramesResponse{}
	for i, p := range f.parts {
		topic := [16]byte{9}
		m.Partitions = append(m.Partitions, &state.Partition{
			Partition: int32(i), TopicId: topic[:], Incarnation: p.incarnation[:], Fold: "last-value", LastStableOffset: p.end,
		})
		for _, cut := range slices.Sorted(maps.Keys(p.taken)) {
			m.Frames = append(m.Frames, f.frameLocked(int32(i), cut))
		}
	}
	return s.Send(m)
}

func (f *fakeTopic) Cut(context.Context, *connect.Request[state.CutRequest]) (*connect.Response[state.CutResponse], error) {
	if err := f.note("cut"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts++
	m := &state.CutResponse{Name: fmt.Sprintf("cut-%d", f.cuts), Consistent: f.open == 0}
	f.open = max(0, f.open-1)
	for i, p := range f.parts {
		if p.end == 0 {
			continue
		}
		p.taken[p.end], p.starts[p.end] = slices.Collect(maps.Values(p.rows)), p.start
		m.Frames = append(m.Frames, f.frameLocked(int32(i), p.end))
	}
	return connect.NewResponse(m), nil
}

func (f *fakeTopic) Scan(_ context.Context, req *connect.Request[state.ScanRequest], s *connect.ServerStream[state.ScanResponse]) error {
	m := &state.ScanResponse{}
	for _, x := range req.Msg.At.GetOffsets().GetOffsets() {
		m.AsOf = append(m.AsOf, &state.AsOf{Partition: x.Partition, Offset: x.Offset})
	}
	return s.Send(m)
}

// taken finds the live rows of a frame, by tag, and the frame.
func (f *fakeTopic) taken(call string, no int32, cut int64) (map[uint64][]fakeRow, *state.Frame, error) {
	f.calls.Add(1)
	if err := f.note(call); err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	rows, ok := f.parts[no].taken[cut]
	if !ok {
		return nil, nil, refusal(state.Reason_REASON_UNKNOWN_FRAME)
	}
	var h digest.Hasher
	byTag := map[uint64][]fakeRow{}
	for _, row := range rows {
		if !row.gone {
			t := plane.TagOf(h.Entry([]byte(row.key), []byte(row.value)))
			byTag[t] = append(byTag[t], row)
		}
	}
	return byTag, f.frameLocked(no, cut), nil
}

func (f *fakeTopic) Sketch(_ context.Context, req *connect.Request[state.SketchRequest], s *connect.ServerStream[state.SketchResponse]) error {
	m := req.Msg
	rows, fr, err := f.taken("sketch", m.Partition, m.Cut)
	if err != nil {
		return err
	}
	cells := sketch.NewEncoder(slices.Collect(maps.Keys(rows))).Next(nil, int(m.First+m.Cells))[m.First:]
	if f.cells != nil {
		cells = f.cells(cells)
	}
	return s.Send(&state.SketchResponse{Frame: fr, Cells: sketch.Append(nil, int(m.First), fr.Count, cells)})
}

func (f *fakeTopic) Tags(_ context.Context, req *connect.Request[state.TagsRequest], s *connect.ServerStream[state.TagsResponse]) error {
	rows, fr, err := f.taken("tags", req.Msg.Partition, req.Msg.Cut)
	if err != nil {
		return err
	}
	tags := slices.Collect(maps.Keys(rows))
	if f.tags != nil {
		f.tags(req.Msg.Partition, tags)
	}
	var b []byte
	for _, t := range tags {
		b = binary.BigEndian.AppendUint64(b, t)
	}
	return s.Send(&state.TagsResponse{Frame: fr, Tags: b})
}

func (f *fakeTopic) Resolve(_ context.Context, req *connect.Request[state.ResolveRequest], s *connect.ServerStream[state.ResolveResponse]) error {
	rows, _, err := f.taken("resolve", req.Msg.Partition, req.Msg.Cut)
	if err != nil {
		return err
	}
	m := &state.ResolveResponse{}
	for b := req.Msg.Tags; len(b) > 0; b = b[8:] {
		found := rows[binary.BigEndian.Uint64(b)]
		for _, row := range found {
			m.Rows = append(m.Rows, &state.Row{Partition: req.Msg.Partition, Key: []byte(row.key), Value: []byte(row.value), Offset: row.offset})
		}
		if len(found) == 0 {
			m.Unknown = append(m.Unknown, b[:8]...)
		}
	}
	if f.rows != nil {
		m.Rows = f.rows(m.Rows)
	}
	return s.Send(m)
}

func (f *fakeTopic) serveFrame(w http.ResponseWriter, r *http.Request) {
	no, _ := strconv.Atoi(r.PathValue("p"))
	cut, _ := strconv.ParseInt(r.PathValue("cut"), 10, 64)
	since := int64(-1)
	if s := r.URL.Query().Get("since"); s != "" {
		since, _ = strconv.ParseInt(s, 10, 64)
	}
	name := plane.FrameName{Partition: int32(no), Cut: cut, Since: since}
	f.calls.Add(1)
	if err := f.note(map[bool]string{true: "frame", false: "since"}[since < 0]); err != nil {
		status := http.StatusConflict
		if plane.ReasonOf(err) == state.Reason_REASON_TOO_MANY_SCANS {
			status = http.StatusServiceUnavailable
		}
		http.Error(w, err.Error(), status)
		return
	}
	f.mu.Lock()
	rows, ok := f.parts[no].taken[cut]
	if !ok {
		f.mu.Unlock()
		http.Error(w, "no such frame", http.StatusNotFound)
		return
	}
	fr, err := plane.ToFrame(f.frameLocked(int32(no), cut))
	rows = slices.Clone(rows)
	f.mu.Unlock()
	if err == nil && f.frames != nil && since < 0 {
		f.frames(int32(no), rows)
	}
	w.Header().Set("ETag", name.ETag(fr.Pub))
	if err == nil && f.header != nil {
		f.header(&fr, &since)
	}
	var b bytes.Buffer
	if err == nil {
		err = encode(&b, fr, since, rows)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.Bytes()))
}

func encode(b *bytes.Buffer, fr plane.Frame, since int64, rows []fakeRow) error {
	slices.SortFunc(rows, func(a, b fakeRow) int { return int(a.offset - b.offset) })
	w := frame.NewWriter(b, frame.Header{
		TopicID: fr.TopicID, Partition: fr.Partition, Incarnation: fr.Incarnation, Cut: fr.Cut, Start: fr.Start, Since: since, Fold: fold.LastValue,
	})
	n := uint64(0)
	for _, row := range rows {
		if row.offset < since || row.gone && since < 0 {
			continue
		}
		n++
		x := frame.Row{Key: []byte(row.key), Value: []byte(row.value), Offset: row.offset, Tombstone: row.gone}
		if row.gone {
			x.Value = nil
		}
		if err := w.Append(&x); err != nil {
			return err
		}
	}
	return w.Close(frame.Footer{Digest: fr.Digest, Pub: fr.Pub, Rows: n})
}

// config is that of a comparison with the topic.
func (f *fakeTopic) config(t require.TestingT) Config {
	transport := &http.Transport{}
	if x, ok := t.(interface{ Cleanup(func()) }); ok {
		x.Cleanup(transport.CloseIdleConnections)
	}
	return Config{
		Plane: plane.New(&http.Client{Transport: transport}, f.url, "t"), Retry: time.Millisecond,
		Partition: func(key []byte, n int) int32 { return int32(home(string(key), n)) },
	}
}

// home is the partitioner of the tests.
func home(key string, n int) int {
	sum := 0
	for _, c := range []byte(key) {
		sum = 31*sum + int(c)
	}
	return sum % n
}

func (f *fakeTopic) apply(writes []Write) {
	for _, w := range writes {
		value := string(w.Value)
		if w.Value == nil {
			value = "-"
		}
		f.write(int(w.Partition), string(w.Key), value)
	}
}

func sourceOf(rows map[string]string) Source {
	return func(yield func(Row, error) bool) {
		for key, value := range rows {
			if !yield(Row{[]byte(key), []byte(value)}, nil) {
				return
			}
		}
	}
}
