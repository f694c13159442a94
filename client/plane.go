package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

var (
	errNoFrame          = errors.New("the log has no such key frame")
	errFrameChanged     = errors.New("the key frame changed while it was read")
	errOtherIncarnation = errors.New("the log is of another incarnation")
	errNotComparable    = errors.New("the log cannot tell its digest at this offset")
)

// plane is the state plane of one topic. All its methods need base to be set.
type plane struct {
	http  *http.Client
	base  string
	topic string
	rpc   stateconnect.StateServiceClient
}

func newPlane(httpClient *http.Client, base, topic string) *plane {
	base = strings.TrimRight(base, "/")
	return &plane{http: httpClient, base: base, topic: topic, rpc: stateconnect.NewStateServiceClient(httpClient, base)}
}

// frameInfo is what the log publishes about a frame.
type frameInfo struct {
	partition   int32
	topicID     [16]byte
	incarnation [16]byte
	cut, start  int64
	digest      digest.Digest
	pub         [32]byte
}

// partitionInfo describes the log of a partition.
type partitionInfo struct {
	partition            int32
	topicID, incarnation [16]byte
	logStart, deltaStart int64
	horizon, lastStable  int64
	fold, failure        string
}

func toPartitionInfo(x *state.Partition) (partitionInfo, error) {
	info := partitionInfo{
		partition: x.GetPartition(), logStart: x.GetLogStartOffset(), deltaStart: x.GetDeltaStartOffset(),
		horizon: x.GetHorizon(), lastStable: x.GetLastStableOffset(), fold: x.GetFold(), failure: x.GetFailure(),
	}
	if err := errors.Join(fill(info.topicID[:], x.GetTopicId()), fill(info.incarnation[:], x.GetIncarnation())); err != nil {
		return info, fmt.Errorf("partition %d: %w", x.GetPartition(), err)
	}
	return info, nil
}

// frames streams what is known of a partition (nil: of all) and, with follow, what is cut later, until on fails or the stream ends.
func (p *plane) frames(ctx context.Context, partition *int32, follow bool, on func([]partitionInfo, []frameInfo) error) error {
	stream, err := p.rpc.Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: p.topic, Partition: partition, Follow: follow}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		m := stream.Msg()
		parts := make([]partitionInfo, 0, len(m.Partitions))
		for _, x := range m.Partitions {
			info, err := toPartitionInfo(x)
			if err != nil {
				return err
			}
			parts = append(parts, info)
		}
		frames := make([]frameInfo, 0, len(m.Frames))
		for _, x := range m.Frames {
			f, err := toFrameInfo(x)
			if err != nil {
				return fmt.Errorf("frame %d of partition %d: %w", x.Cut, x.Partition, err)
			}
			frames = append(frames, f)
		}
		if err := on(parts, frames); err != nil {
			return err
		}
	}
	return stream.Err()
}

// partition asks what the log of a partition holds at this moment.
func (p *plane) partition(ctx context.Context, no int32) (info partitionInfo, err error) {
	found := false
	err = p.frames(ctx, &no, false, func(parts []partitionInfo, _ []frameInfo) error {
		for _, x := range parts {
			if x.partition == no {
				info, found = x, true
			}
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: the state plane does not know partition %d", ErrNoPartition, no)
	}
	return info, err
}

// toFrameInfo checks that a frame's pub is the hash over what else it says.
func toFrameInfo(x *state.Frame) (frameInfo, error) {
	f := frameInfo{partition: x.Partition, cut: x.Cut, start: x.Start}
	var sum [32]byte
	if err := errors.Join(fill(f.topicID[:], x.TopicId), fill(f.incarnation[:], x.Incarnation), fill(f.pub[:], x.Pub), fill(sum[:], x.Sum)); err != nil {
		return f, err
	}
	f.digest = digest.Digest{Sum: digest.SumFromBytes(sum), Count: x.Count}
	id := digest.FrameID{TopicID: f.topicID, Partition: f.partition, Incarnation: f.incarnation, Cut: f.cut, Start: f.start}
	if pub := f.digest.Pub(id); pub != f.pub {
		return f, fmt.Errorf("pub %x does not match count %d and sum %x", f.pub, x.Count, sum)
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

// digestAt asks for the digest of the state at an offset. Errors: errOtherIncarnation, errNotComparable, or the call's own.
func (p *plane) digestAt(ctx context.Context, partition int32, pos Position) (d digest.Digest, start int64, err error) {
	req := &state.DigestAtRequest{Topic: p.topic, Partition: partition, Offset: pos.Offset}
	if pos.Incarnation != [16]byte{} {
		req.Incarnation = pos.Incarnation[:]
	}
	resp, err := p.rpc.DigestAt(ctx, connect.NewRequest(req))
	if err != nil {
		return d, 0, classify(err)
	}
	var sum, zero [32]byte
	if err := fill(sum[:], resp.Msg.Sum); err != nil {
		return d, 0, err
	}
	asOf := resp.Msg.AsOf
	if asOf.GetOffset() != pos.Offset {
		return d, 0, fmt.Errorf("%w: asked for %d, answered for %d", errNotComparable, pos.Offset, asOf.GetOffset())
	}
	if inc := asOf.GetIncarnation(); string(pos.Incarnation[:]) != string(zero[:16]) && string(inc) != string(pos.Incarnation[:]) {
		return d, 0, fmt.Errorf("%w: %x", errOtherIncarnation, inc)
	}
	return digest.Digest{Sum: digest.SumFromBytes(sum), Count: resp.Msg.Count}, resp.Msg.Start, nil
}

// planeReason finds the reason that the state plane attaches to its errors.
func planeReason(err error) state.Reason {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return state.Reason_REASON_UNSPECIFIED
	}
	for _, d := range ce.Details() {
		if v, err := d.Value(); err == nil {
			if detail, ok := v.(*state.ErrorDetail); ok {
				return detail.Reason
			}
		}
	}
	return state.Reason_REASON_UNSPECIFIED
}

// classify turns an error of DigestAt into errors of ours.
func classify(err error) error {
	switch planeReason(err) {
	case state.Reason_REASON_OTHER_INCARNATION:
		return fmt.Errorf("%w: %w", errOtherIncarnation, err)
	case state.Reason_REASON_BELOW_DELTA_START, state.Reason_REASON_ABOVE_LAST_STABLE,
		state.Reason_REASON_TOO_FAR_ABOVE_FRAME, state.Reason_REASON_BEHIND, state.Reason_REASON_PARTITION_FAILED:
		return fmt.Errorf("%w: %w", errNotComparable, err)
	}
	return err
}

// frameName names a frame, or what changed in it since an offset.
type frameName struct {
	partition int32
	cut       int64 // -1: the newest
	since     int64 // -1: the whole frame
}

func (n frameName) path() string {
	name := "latest"
	if n.cut >= 0 {
		name = strconv.FormatInt(n.cut, 10)
	}
	if n.since >= 0 {
		name += "?since=" + strconv.FormatInt(n.since, 10)
	}
	return fmt.Sprintf("partitions/%d/frames/%s", n.partition, name)
}

// etag is the entity tag of what the name means, where that is the frame with this pub.
func (n frameName) etag(pub [32]byte) string {
	if n.since < 0 {
		return fmt.Sprintf(`"%x"`, pub)
	}
	return fmt.Sprintf(`"%x.%d"`, pub, n.since)
}

// frame opens the bytes of a frame from byte `from` on. With from > 0 etag must be that of the first answer; in the first request it
// may be known, and is then asked for.
func (p *plane) frame(ctx context.Context, name frameName, from int64, etag string) (body io.ReadCloser, gotEtag string, err error) {
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
		return errNoFrame
	case resp.StatusCode == http.StatusPreconditionFailed:
		return errFrameChanged
	case from == 0 && resp.StatusCode == http.StatusOK:
		if got := resp.Header.Get("ETag"); etag != "" && got != etag {
			return errFrameChanged
		}
		return nil
	case from > 0 && resp.StatusCode == http.StatusPartialContent && resp.Header.Get("ETag") == etag:
		if want := fmt.Sprintf("bytes %d-", from); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return fmt.Errorf("asked for %q, got range %q", want, resp.Header.Get("Content-Range"))
		}
		return nil
	case from > 0 && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent):
		return errFrameChanged
	}
	msg, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	err := fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(msg)))
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}
