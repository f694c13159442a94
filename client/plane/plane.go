package plane

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// Plane is the state plane of one topic. Its methods may be called beside each other.
type Plane struct {
	http  *http.Client
	base  string
	topic string
	rpc   stateconnect.StateServiceClient
}

// answerBytesMax bounds one message of an answer: a row of any size fits, and what else there may be in it.
const answerBytesMax = fold.RowBytesMax + 16<<20

// New makes no call. base is the plane's URL, such as http://127.0.0.1:9094.
func New(httpClient *http.Client, base, topic string) *Plane {
	base, httpClient = strings.TrimRight(base, "/"), watch(httpClient)
	rpc := stateconnect.NewStateServiceClient(httpClient, base, connect.WithReadMaxBytes(answerBytesMax))
	return &Plane{http: httpClient, base: base, topic: topic, rpc: rpc}
}

// Frames streams what is known of a partition (nil: of all) and, with follow, what is cut later, until on fails or the stream ends; on is called with
// nothing now and then. A stream on which not even that comes is ErrSilent.
func (p *Plane) Frames(ctx context.Context, partition *int32, follow bool, on func([]Partition, []Frame) error) error {
	alive := func(int64) {}
	if follow {
		ctx, alive = Following(ctx)
	}
	stream, err := p.rpc.Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: p.topic, Partition: partition, Follow: follow}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		alive(stream.Msg().AliveMs)
		parts, frames, err := toList(stream.Msg())
		if err != nil {
			return err
		}
		if err := on(parts, frames); err != nil {
			return err
		}
	}
	return stream.Err()
}

func toList(m *state.FramesResponse) ([]Partition, []Frame, error) {
	parts := make([]Partition, 0, len(m.Partitions))
	for _, x := range m.Partitions {
		info, err := toPartition(x)
		if err != nil {
			return nil, nil, err
		}
		parts = append(parts, info)
	}
	frames := make([]Frame, 0, len(m.Frames))
	for _, x := range m.Frames {
		f, err := ToFrame(x)
		if err != nil {
			return nil, nil, fmt.Errorf("frame %d of partition %d: %w", x.Cut, x.Partition, err)
		}
		frames = append(frames, f)
	}
	return parts, frames, nil
}

// Listing is what the log tells of a partition: what it holds, and frames that it keeps.
type Listing struct {
	Partition
	First  *Frame // the one at the delta start offset, whose rows are what is left of all below it; nil: there is none
	Newest *Frame // nil: there is none
}

// Listed asks what the log of a partition holds at this moment. A frame above the last stable offset is not taken for one: it was cut since that was told,
// or there is none. Errors: ErrNoPartition, ErrRefused, ErrBarred, ErrBadAnswer where a frame is of another log, or the call's own.
func (p *Plane) Listed(ctx context.Context, no int32) (l Listing, err error) {
	found := false
	err = p.Frames(ctx, &no, false, func(parts []Partition, frames []Frame) error {
		for _, x := range parts {
			if x.Partition == no {
				l.Partition, found = x, true
			}
		}
		for _, f := range frames {
			if f.Partition != no {
				continue
			}
			if f.TopicID != l.TopicID || f.Incarnation != l.Incarnation {
				return fmt.Errorf("%w: frame %d is of another log", ErrBadAnswer, f.Cut)
			}
			l.take(f)
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: %d", ErrNoPartition, no)
	}
	if refuses(err) {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return l, p.barred(stateconnect.StateServiceFramesProcedure, err)
}

// take takes a frame for one of those that are looked for. At one cut, a higher start supersedes another.
func (l *Listing) take(f Frame) {
	if f.Cut > l.LastStable {
		return
	}
	if f.Cut == l.DeltaStart && (l.First == nil || f.Start > l.First.Start) {
		l.First = &f
	}
	if l.Newest == nil || f.Cut > l.Newest.Cut || f.Cut == l.Newest.Cut && f.Start > l.Newest.Start {
		l.Newest = &f
	}
}

// Partition asks what the log of a partition holds at this moment. Errors: Listed's.
func (p *Plane) Partition(ctx context.Context, no int32) (Partition, error) {
	l, err := p.Listed(ctx, no)
	return l.Partition, err
}

// DigestAt asks for the digest of the state at an offset, and for the log start that it respects. A zero incarnation is any. Errors:
// ErrOtherIncarnation, ErrNotComparable, or the call's own.
func (p *Plane) DigestAt(ctx context.Context, partition int32, incarnation [16]byte, offset int64) (d digest.Digest, start int64, err error) {
	req := &state.DigestAtRequest{Topic: p.topic, Partition: partition, Offset: offset}
	if incarnation != [16]byte{} {
		req.Incarnation = incarnation[:]
	}
	resp, err := p.rpc.DigestAt(ctx, connect.NewRequest(req))
	if err != nil {
		return d, 0, classify(err)
	}
	var sum [32]byte
	if err := fill(sum[:], resp.Msg.Sum); err != nil {
		return d, 0, err
	}
	asOf := resp.Msg.AsOf
	if asOf.GetOffset() != offset {
		return d, 0, fmt.Errorf("%w: asked for %d, answered for %d", ErrNotComparable, offset, asOf.GetOffset())
	}
	if inc := asOf.GetIncarnation(); incarnation != [16]byte{} && string(inc) != string(incarnation[:]) {
		return d, 0, fmt.Errorf("%w: %x", ErrOtherIncarnation, inc)
	}
	return digest.Digest{Sum: digest.SumFromBytes(sum), Count: resp.Msg.Count}, resp.Msg.Start, nil
}

// Report tells how a replica is doing; the request names the topic.
func (p *Plane) Report(ctx context.Context, m *state.ReportRequest) (*state.ReportResponse, error) {
	answer, err := p.rpc.Report(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, err
	}
	return answer.Msg, nil
}
