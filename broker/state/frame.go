package state

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/table"
)

// frameContentType is the media type of proto/frame.
const frameContentType = "application/vnd.keyframe.frame"

// resource is one key frame that is being served, or what of it changed since an offset.
type resource struct {
	topic     *keyframer.Topic
	partition *keyframer.Partition
	view      *table.View
	pub       [32]byte
	since     int64 // -1: the whole frame
}

func (f *resource) etag() string { return `"` + hex.EncodeToString(f.pub[:]) + f.suffix(".") + `"` }

func (f *resource) path() string {
	return fmt.Sprintf("/v1/topics/%s/partitions/%d/frames/%d", f.topic.Name, f.partition.Index, f.view.End()) + f.suffix("?since=")
}

// frame serves GET and HEAD of one key frame, see the package doc.
func (s *Server) frame(w http.ResponseWriter, r *http.Request) {
	since, err := parseSince(r)
	if err != nil {
		writeError(w, err)
		return
	}
	f, err := s.openFrame(r.PathValue("topic"), r.PathValue("partition"), r.PathValue("cut"))
	if err != nil {
		writeError(w, err)
		return
	}
	defer f.view.Close()
	if err := f.setSince(since); err != nil {
		writeError(w, err)
		return
	}
	h := w.Header()
	h.Set("ETag", f.etag())
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "private, no-cache") // a topic may be created anew: ask, the answer is mostly 304
	h.Set("Keyframe-Cut", strconv.FormatInt(f.view.End(), 10))
	h.Set("Content-Location", f.path())
	if !ifMatch(r, f.etag()) {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	if matches(r.Header.Values("If-None-Match"), f.etag()) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	ctx, end, ok := s.scan(r.Context())
	if !ok {
		h.Set("Retry-After", "1")
		writeError(w, refuse(api.Reason_REASON_TOO_MANY_SCANS, &api.ErrorDetail{Topic: f.topic.Name}, "too many scans are running: try again"))
		return
	}
	defer end()
	h.Set("Content-Type", frameContentType)
	h.Set("Accept-Ranges", "bytes")
	if ranges := r.Header.Get("Range"); ranges != "" && r.Method == http.MethodGet && ifRange(r, f.etag()) {
		if first, last, ok := parseRange(ranges); ok {
			s.sendRange(ctx, w, f, first, last)
			return
		}
	}
	s.sendWhole(ctx, w, r, f)
}

// openFrame finds a frame by the path's segments and pins it.
func (s *Server) openFrame(topic, partition, cut string) (*resource, error) {
	index, err := strconv.ParseInt(partition, 10, 32)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the partition is not a number"))
	}
	index32 := int32(index)
	sel, err := s.selectPartitions(topic, &index32)
	if err != nil {
		return nil, err
	}
	p := sel.partitions[0]
	t, err := p.Table()
	if err != nil {
		return nil, describe(sel.topic, p, err)
	}
	for try := 0; ; try++ {
		at, err := cutOf(sel, p, t, cut)
		if err != nil {
			return nil, err
		}
		view, err := t.View(at)
		if errors.Is(err, table.ErrNoFrame) && cut == "latest" && try < 10 {
			continue // it was thinned in between: there is a later one
		}
		if err != nil {
			return nil, describe(sel.topic, p, err)
		}
		return &resource{topic: sel.topic, partition: p, view: view, pub: t.Pub(view.Frame()), since: -1}, nil
	}
}

func cutOf(sel selection, p *keyframer.Partition, t *table.Table, cut string) (int64, error) {
	if cut != "latest" {
		at, err := strconv.ParseInt(cut, 10, 64)
		if err != nil || at < 0 {
			return 0, connect.NewError(connect.CodeInvalidArgument, errors.New(`the frame is neither an offset nor "latest"`))
		}
		return at, nil
	}
	frames := t.Frames()
	if len(frames) == 0 {
		return 0, refuseAt(api.Reason_REASON_UNKNOWN_FRAME, sel.topic, p, 0, "no key frame of partition %d was cut yet", p.Index)
	}
	return frames[len(frames)-1].Cut, nil
}

// write encodes the frame. The bytes depend on nothing but its content.
func (f *resource) write(ctx context.Context, w io.Writer) error {
	at := f.view.Frame()
	out := frame.NewWriter(w, frame.Header{
		TopicID: f.topic.ID, Partition: f.partition.Index, Incarnation: f.partition.Incarnation, Cut: at.Cut, Start: at.Start,
		Since: f.since, Fold: f.topic.Fold, CutTimeMs: at.CutTimeMs,
	})
	rows := uint64(0)
	for row, err := range f.view.Offsets(f.since, f.since >= 0) {
		if err != nil {
			return err
		}
		if rows%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := out.Append(&row); err != nil {
			return err
		}
		rows++
	}
	if f.since < 0 && rows != uint64(at.Digest.Count) {
		return fmt.Errorf("%w: %s/%d: the frame at %d has %d rows, and %d were read", table.ErrDigest, f.topic.Name, f.partition.Index, at.Cut, at.Digest.Count, rows)
	}
	return out.Close(frame.Footer{Digest: at.Digest, Pub: f.pub, Rejected: at.Rejected, Rows: rows})
}

// sendWhole sends the frame from its first byte, compressed if the client takes that.
func (s *Server) sendWhole(ctx context.Context, w http.ResponseWriter, r *http.Request, f *resource) {
	encoding := negotiate(r.Header.Values("Accept-Encoding"))
	size, known := s.sizes.get(f.etag())
	switch {
	case encoding != "":
		w.Header().Set("Content-Encoding", encoding)
		w.Header().Set("ETag", "W/"+f.etag())
	case known:
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	if r.Method == http.MethodHead {
		return
	}
	answer := &answer{w: w, status: http.StatusOK}
	body, finish, err := encoder(encoding, answer)
	if err != nil {
		writeError(w, err)
		return
	}
	count := &counter{w: body, sent: s.metrics.frameBytes.Add}
	err = f.write(ctx, count)
	if err == nil {
		err = finish()
	}
	if err != nil {
		s.broken(answer, f, err)
		return
	}
	s.sizes.put(f.etag(), count.n)
}

// sendRange sends bytes [first, last] of the frame, last -1 being its end. What comes before is encoded and dropped.
func (s *Server) sendRange(ctx context.Context, w http.ResponseWriter, f *resource, first, last int64) {
	size, known := s.sizes.get(f.etag())
	if !known { // Content-Range names the size
		count := &counter{w: io.Discard, sent: func(float64) {}}
		if err := f.write(ctx, count); err != nil {
			s.broken(&answer{w: w}, f, err)
			return
		}
		size = count.n
		s.sizes.put(f.etag(), size)
	}
	if first < 0 { // the last bytes
		first = max(size+first, 0) // and last is -1
	}
	if first >= size {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	if last < 0 || last >= size {
		last = size - 1
	}
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
	w.Header().Set("Content-Length", strconv.FormatInt(last-first+1, 10))
	answer := &answer{w: w, status: http.StatusPartialContent}
	part := &partWriter{w: &counter{w: answer, sent: s.metrics.frameBytes.Add}, skip: first, left: last - first + 1}
	if err := f.write(ctx, part); err != nil && !errors.Is(err, errPartDone) {
		s.broken(answer, f, err)
	}
}

// answer is the body of a response whose status is sent with its first byte.
type answer struct {
	w      http.ResponseWriter
	status int
	begun  bool
}

func (a *answer) Write(b []byte) (int, error) {
	if !a.begun {
		a.begun = true
		a.w.WriteHeader(a.status)
	}
	return a.w.Write(b)
}

// broken ends a response that cannot be sent to its end: with the error's status where nothing was sent yet. Else the connection is broken off, so that
// the client cannot take what it got for the whole; when it asks for the rest, it is told why.
func (s *Server) broken(a *answer, f *resource, err error) {
	err = f.partition.DamagedFrame(f.view.End(), f.since, err)
	if !a.begun {
		writeError(a.w, describe(f.topic, f.partition, err))
		return
	}
	s.cfg.Logger.Info("a key frame was not sent to its end",
		"topic", f.topic.Name, "partition", f.partition.Index, "cut", f.view.End(), "since", f.since, "error", err)
	panic(http.ErrAbortHandler)
}

// encoder wraps w in a compressor, or not.
func encoder(encoding string, w io.Writer) (body io.Writer, finish func() error, err error) {
	switch encoding {
	case "zstd":
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case "gzip":
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return w, func() error { return nil }, nil
}

// ofAFrame are the headers that describe a frame, and no error about it.
var ofAFrame = []string{"ETag", "Content-Encoding", "Content-Length", "Content-Range", "Content-Location", "Accept-Ranges", "Keyframe-Cut"}

// writeError answers with Connect's code as an HTTP status and a JSON body like Connect's.
func writeError(w http.ResponseWriter, err error) {
	for _, name := range ofAFrame {
		w.Header().Del(name)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusOf(connect.CodeOf(err)))
	_ = json.NewEncoder(w).Encode(errorBody(err))
}

func errorBody(err error) map[string]string {
	message := err.Error()
	var typed *connect.Error
	if errors.As(err, &typed) {
		message = typed.Message()
	}
	body := map[string]string{"code": strings.ToLower(connect.CodeOf(err).String()), "message": message}
	if why := reasonOf(typed); why != api.Reason_REASON_UNSPECIFIED {
		body["reason"] = why.String()
	}
	return body
}

func statusOf(code connect.Code) int {
	switch code {
	case connect.CodeNotFound:
		return http.StatusNotFound
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return http.StatusBadRequest
	case connect.CodeFailedPrecondition:
		return http.StatusConflict
	case connect.CodeUnavailable, connect.CodeResourceExhausted:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
