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
	failure              string
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
			info := partitionInfo{
				partition: x.Partition, logStart: x.LogStartOffset, deltaStart: x.DeltaStartOffset,
				horizon: x.Horizon, lastStable: x.LastStableOffset, failure: x.Failure,
			}
			if err := errors.Join(fill(info.topicID[:], x.TopicId), fill(info.incarnation[:], x.Incarnation)); err != nil {
				return fmt.Errorf("partition %d: %w", x.Partition, err)
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

// classify finds the reason that the state plane attaches to its errors.
func classify(err error) error {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return err
	}
	for _, d := range ce.Details() {
		v, derr := d.Value()
		detail, ok := v.(*state.ErrorDetail)
		if derr != nil || !ok {
			continue
		}
		switch detail.Reason {
		case state.Reason_REASON_OTHER_INCARNATION:
			return fmt.Errorf("%w: %w", errOtherIncarnation, err)
		case state.Reason_REASON_BELOW_DELTA_START, state.Reason_REASON_ABOVE_LAST_STABLE,
			state.Reason_REASON_TOO_FAR_ABOVE_FRAME, state.Reason_REASON_BEHIND, state.Reason_REASON_PARTITION_FAILED:
			return fmt.Errorf("%w: %w", errNotComparable, err)
		}
	}
	return err
}

// frame opens the bytes of a frame from byte `from` on; cut < 0 is the newest. With from > 0 etag must be that of the first answer.
func (p *plane) frame(ctx context.Context, partition int32, cut, from int64, etag string) (body io.ReadCloser, gotEtag string, err error) {
	name := "latest"
	if cut >= 0 {
		name = strconv.FormatInt(cut, 10)
	}
	u := fmt.Sprintf("%s/v1/topics/%s/partitions/%d/frames/%s", p.base, url.PathEscape(p.topic), partition, name)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept-Encoding", "identity") // a range must be one of the frame's own bytes
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		req.Header.Set("If-Range", etag)
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
	case from == 0 && resp.StatusCode == http.StatusOK:
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
