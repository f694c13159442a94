package plane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/state"
)

// Frame is what the log publishes about a frame.
type Frame struct {
	Partition   int32
	TopicID     [16]byte
	Incarnation [16]byte
	Cut, Start  int64
	Digest      digest.Digest
	Pub         [32]byte
	Bytes       int64 // of the keys and values of its rows
}

// Partition describes the log of a partition.
type Partition struct {
	Partition            int32
	TopicID, Incarnation [16]byte
	LogStart, DeltaStart int64
	Horizon, LastStable  int64
	Fold, Failure        string
	Disputed             bool // of what Frames and Resume tell: replicas agree with one another and not with the broker
}

func toPartition(x *state.Partition) (Partition, error) {
	info := Partition{
		Partition: x.GetPartition(), LogStart: x.GetLogStartOffset(), DeltaStart: x.GetDeltaStartOffset(),
		Horizon: x.GetHorizon(), LastStable: x.GetLastStableOffset(), Fold: x.GetFold(), Failure: x.GetFailure(),
		Disputed: x.GetDisputed(),
	}
	if err := errors.Join(fill(info.TopicID[:], x.GetTopicId()), fill(info.Incarnation[:], x.GetIncarnation())); err != nil {
		return info, fmt.Errorf("partition %d: %w", x.GetPartition(), err)
	}
	return info, nil
}

// ToFrame checks that a frame's pub is the hash over what else it says.
func ToFrame(x *state.Frame) (Frame, error) {
	f := Frame{Partition: x.Partition, Cut: x.Cut, Start: x.Start, Bytes: x.Bytes}
	if x.Count < 0 || x.Bytes < 0 {
		return f, fmt.Errorf("%d rows of %d bytes", x.Count, x.Bytes)
	}
	var sum [32]byte
	if err := errors.Join(fill(f.TopicID[:], x.TopicId), fill(f.Incarnation[:], x.Incarnation), fill(f.Pub[:], x.Pub), fill(sum[:], x.Sum)); err != nil {
		return f, err
	}
	f.Digest = digest.Digest{Sum: digest.SumFromBytes(sum), Count: x.Count}
	id := digest.FrameID{TopicID: f.TopicID, Partition: f.Partition, Incarnation: f.Incarnation, Cut: f.Cut, Start: f.Start}
	if pub := f.Digest.Pub(id); pub != f.Pub {
		return f, fmt.Errorf("pub %x does not match count %d and sum %x", f.Pub, x.Count, sum)
	}
	return f, nil
}

func fill(dst, src []byte) error {
	if len(src) != len(dst) {
		return fmt.Errorf("field of %d bytes, expected %d", len(src), len(dst))
	}
	copy(dst, src)
	return nil
}

// Is tells whether a header is that of the frame.
func (f *Frame) Is(h frame.Header) bool {
	return h.TopicID == f.TopicID && h.Partition == f.Partition && h.Incarnation == f.Incarnation && h.Cut == f.Cut && h.Start == f.Start
}

// bytesSlack is how much more a frame may have than was said of it: a part of that, and as much at least.
const (
	bytesSlack    = 8
	bytesSlackMin = 1 << 20
)

// Read begins to read what a name means, where that is this frame: its header is compared before anything else is read, and it ends where it has more rows
// or bytes than the frame. Errors: ErrFrameChanged, those of package frame.
func (f *Frame) Read(body io.Reader, name FrameName) (*frame.Reader, error) {
	fr, err := frame.NewReader(body, 0)
	if err != nil {
		return nil, fmt.Errorf("key frame header: %w", err)
	}
	if h := fr.Header(); !f.Is(h) || h.Since != name.Since {
		return nil, fmt.Errorf("%w: asked for %d since %d, start %d; got %d since %d, start %d", ErrFrameChanged, f.Cut, name.Since, f.Start, h.Cut, h.Since, h.Start)
	}
	fr.Expect(f.Digest.Count, f.Bytes+max(f.Bytes/bytesSlack, bytesSlackMin))
	return fr, nil
}

// FrameName names a frame, or what changed in it since an offset.
type FrameName struct {
	Partition int32
	Cut       int64
	Since     int64 // -1: the whole frame
}

// Whole names the whole frame at a cut.
func Whole(partition int32, cut int64) FrameName { return FrameName{partition, cut, -1} }

// Since names what changed from an offset on, as of a cut.
func Since(partition int32, cut, since int64) FrameName { return FrameName{partition, cut, since} }

func (n FrameName) path() string {
	name := strconv.FormatInt(n.Cut, 10)
	if n.Since >= 0 {
		name += "?since=" + strconv.FormatInt(n.Since, 10)
	}
	return fmt.Sprintf("partitions/%d/frames/%s", n.Partition, name)
}

// ETag is the entity tag of what the name means, where that is the frame with this pub.
func (n FrameName) ETag(pub [32]byte) string {
	if n.Since < 0 {
		return fmt.Sprintf(`"%x"`, pub)
	}
	return fmt.Sprintf(`"%x.%d"`, pub, n.Since)
}

// OpenFrame opens the bytes of a frame from byte `from` on. With from > 0 etag must be that of the first answer; in the first request it
// may be known, and is then asked for. Errors: ErrNoFrame, ErrFrameChanged, ErrRefused, ErrBusy,
// ErrUnrepairable, or the call's own.
func (p *Plane) OpenFrame(ctx context.Context, name FrameName, from int64, etag string) (body io.ReadCloser, gotEtag string, err error) {
	u := fmt.Sprintf("%s/v1/topics/%s/%s", p.base, url.PathEscape(p.topic), name.path())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept-Encoding", "identity") // a range must be one of the frame's own bytes
	switch {
	case from > 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		req.Header.Set("If-Range", etag)
	case etag != "":
		req.Header.Set("If-Match", etag)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	if err := checkFrameAnswer(resp, from, etag); err != nil {
		resp.Body.Close()
		return nil, "", fmt.Errorf("GET %s: %w", u, err)
	}
	return resp.Body, resp.Header.Get("ETag"), nil
}

func checkFrameAnswer(resp *http.Response, from int64, etag string) error {
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return ErrNoFrame
	case resp.StatusCode == http.StatusPreconditionFailed:
		return ErrFrameChanged
	case from == 0 && resp.StatusCode == http.StatusOK:
		if got := resp.Header.Get("ETag"); etag != "" && got != etag {
			return ErrFrameChanged
		}
		return nil
	case from > 0 && resp.StatusCode == http.StatusPartialContent && resp.Header.Get("ETag") == etag:
		if want := fmt.Sprintf("bytes %d-", from); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return fmt.Errorf("asked for %q, got range %q", want, resp.Header.Get("Content-Range"))
		}
		return nil
	case from > 0 && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent):
		return ErrFrameChanged
	}
	said, reason := refusal(resp.Body)
	err := fmt.Errorf("%s: %s", resp.Status, said)
	if reason == state.Reason_REASON_BROKER_CORRUPT {
		return fmt.Errorf("%w: %w", ErrUnrepairable, err)
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}

// refusalBytesMax bounds what is read of an error.
const refusalBytesMax = 4 << 10

// refusal reads the body of an error, which may be of something that stands in front of the broker.
func refusal(body io.Reader) (said string, reason state.Reason) {
	b, _ := io.ReadAll(io.LimitReader(body, refusalBytesMax))
	var e struct{ Message, Reason string }
	if json.Unmarshal(b, &e) != nil || e.Message == "" {
		return strings.TrimSpace(string(b)), state.Reason_REASON_UNSPECIFIED
	}
	return e.Message, state.Reason(state.Reason_value[e.Reason])
}
