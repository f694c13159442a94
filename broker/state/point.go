package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/log"
)

// selection is the partitions that a request reads.
type selection struct {
	topic      *keyframer.Topic
	partitions []*keyframer.Partition
	now        func() time.Time
}

// topic finds a key-framed topic.
func (s *Server) topic(name string) (*keyframer.Topic, error) {
	if t, ok := s.cfg.Keyframer.Topic(name); ok {
		return t, nil
	}
	name = clip(name) // of the client's choice
	if s.cfg.TopicExists(name) {
		return nil, refuse(api.Reason_REASON_NOT_KEY_FRAMED, &api.ErrorDetail{Topic: name},
			"topic %q is not key-framed: its cleanup.policy has no compact; keyframe topic alter %s --cleanup-policy compact adds it", name, name)
	}
	return nil, refuse(api.Reason_REASON_UNKNOWN_TOPIC, &api.ErrorDetail{Topic: name}, "there is no topic %q: keyframe topic list shows what there is", name)
}

// selectPartitions finds one partition of a topic, or all of them.
func (s *Server) selectPartitions(topic string, partition *int32) (selection, error) {
	t, err := s.topic(topic)
	if err != nil {
		return selection{}, err
	}
	if partition == nil {
		return selection{t, t.Partitions(), s.cfg.Now}, nil
	}
	p, err := t.Partition(*partition)
	if err != nil {
		return selection{}, refuse(api.Reason_REASON_UNKNOWN_PARTITION, &api.ErrorDetail{Topic: topic, Partition: partition},
			"topic %q has no partition %d", topic, *partition)
	}
	return selection{t, []*keyframer.Partition{p}, s.cfg.Now}, nil
}

// onlyPartition is selectPartitions for what is read of one partition at a time.
func (s *Server) onlyPartition(topic string, partition *int32) (selection, error) {
	sel, err := s.selectPartitions(topic, partition)
	if err == nil && len(sel.partitions) != 1 {
		return sel, refuse(api.Reason_REASON_AMBIGUOUS_POINT, &api.ErrorDetail{Topic: topic},
			"topic %q has %d partitions: name one", topic, len(sel.partitions))
	}
	return sel, err
}

// resolve returns the offset of each selected partition at a point.
func (sel selection) resolve(at *api.At) ([]int64, error) {
	var offsets []int64
	var err error
	switch point := at.Point.(type) {
	case *api.At_Offset:
		offsets, err = sel.bareOffset(point.Offset)
	case *api.At_Offsets:
		offsets, err = sel.listed(point.Offsets.GetOffsets())
	case *api.At_TimeMs:
		offsets, err = sel.atTime(point.TimeMs)
	case *api.At_Cut:
		offsets, err = sel.atCut(point.Cut)
	default:
		err = connect.NewError(connect.CodeInvalidArgument, errors.New("at names no point"))
	}
	if err != nil {
		return nil, err
	}
	for i, p := range sel.partitions {
		if err := sel.check(p, offsets[i]); err != nil {
			return nil, err
		}
	}
	return offsets, nil
}

func (sel selection) ambiguous(format string, args ...any) error {
	return refuse(api.Reason_REASON_AMBIGUOUS_POINT, &api.ErrorDetail{Topic: sel.topic.Name}, format, args...)
}

func (sel selection) bareOffset(offset int64) ([]int64, error) {
	if len(sel.partitions) != 1 {
		return nil, sel.ambiguous("an offset alone is a point in one partition only, and %d are read: name an offset for each as %s, "+
			"a time, or a cut (keyframe frames cut %s makes one)", len(sel.partitions), sel.example(), sel.topic.Name)
	}
	return []int64{offset}, nil
}

// example is a point of all partitions that are read, as --at takes it.
func (sel selection) example() string {
	var points []string
	for _, p := range sel.partitions[:min(len(sel.partitions), 3)] {
		points = append(points, fmt.Sprintf("%d:%d", p.Index, p.Bounds().LastStable))
	}
	if len(points) < len(sel.partitions) {
		points = append(points, "...")
	}
	return strings.Join(points, ",")
}

func (sel selection) listed(points []*api.PartitionOffset) ([]int64, error) {
	byPartition, err := sel.byPartition(points)
	if err != nil {
		return nil, err
	}
	offsets := make([]int64, len(sel.partitions))
	for i, p := range sel.partitions {
		offset, ok := byPartition[p.Index]
		if !ok {
			return nil, sel.ambiguous("no offset is named for partition %d", p.Index)
		}
		offsets[i] = offset
	}
	return offsets, nil
}

// byPartition checks a list of points.
func (sel selection) byPartition(points []*api.PartitionOffset) (map[int32]int64, error) {
	offsets := map[int32]int64{}
	for _, point := range points {
		if _, twice := offsets[point.Partition]; twice {
			return nil, sel.ambiguous("partition %d is named twice", point.Partition)
		}
		if _, err := sel.topic.Partition(point.Partition); err != nil {
			return nil, refuse(api.Reason_REASON_UNKNOWN_PARTITION,
				&api.ErrorDetail{Topic: sel.topic.Name, Partition: &point.Partition},
				"topic %q has no partition %d", sel.topic.Name, point.Partition)
		}
		offsets[point.Partition] = point.Offset
	}
	return offsets, nil
}

// clocksDiffer is how far a client's clock may be ahead of ours.
const clocksDiffer = time.Minute

// atTime is where each log stood at a time: the end of what was appended at or before it. A time that is yet to come is refused: the present in its place
// would look like an answer. So is one that lies above a last stable offset, where the past would: of those the one that is held back longest is told.
func (sel selection) atTime(ms int64) ([]int64, error) {
	if now := sel.now(); ms > now.Add(clocksDiffer).UnixMilli() {
		return nil, refuse(api.Reason_REASON_ABOVE_LAST_STABLE, &api.ErrorDetail{Topic: sel.topic.Name}, "the time %s is yet to come: it is %s",
			time.UnixMilli(ms).UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	offsets := make([]int64, len(sel.partitions))
	var longest *unstable
	for i, p := range sel.partitions {
		offset, err := p.Log().OffsetAtAppendTime(ms)
		if errors.Is(err, log.ErrNoTime) {
			return nil, refuseAt(api.Reason_REASON_BELOW_DELTA_START, sel.topic, p, 0,
				"the time %s lies before what partition %d still has deltas of; %s", timeText(ms), p.Index, sel.readable(p))
		}
		if err != nil {
			return nil, describe(sel.topic, p, err)
		}
		offsets[i] = offset
		if u, ok := above(p, offset); ok && (longest == nil || u.sinceMs < longest.sinceMs) {
			longest = &u
		}
	}
	if longest != nil {
		return nil, sel.refuseTime(ms, *longest)
	}
	return offsets, nil
}

func (sel selection) atCut(name string) ([]int64, error) {
	all, err := sel.topic.Resolve(name)
	if err != nil {
		return nil, describe(sel.topic, nil, err)
	}
	offsets := make([]int64, 0, len(sel.partitions))
	for i, p := range sel.topic.Partitions() { // partitions may have come since they were selected, and since the cut was resolved
		if n := len(offsets); n < len(sel.partitions) && sel.partitions[n] == p {
			offsets = append(offsets, all[i])
		}
	}
	return offsets, nil
}

// end is resolve, and where no point is named the last stable offset of each partition.
func (sel selection) end(at *api.At) ([]int64, error) {
	if at != nil {
		return sel.resolve(at)
	}
	offsets := make([]int64, len(sel.partitions))
	for i, p := range sel.partitions {
		offsets[i] = p.Bounds().LastStable
	}
	return offsets, nil
}

// check says whether the state at an offset is defined: between the delta start offset, whose key frame is the oldest, and the last stable offset.
func (sel selection) check(p *keyframer.Partition, offset int64) error {
	if u, ok := above(p, offset); ok {
		return sel.refuseOffset(u)
	}
	b := p.Bounds()
	if offset >= b.DeltaStart {
		return nil
	}
	return refuseAt(api.Reason_REASON_BELOW_DELTA_START, sel.topic, p, offset,
		"offset %d of partition %d is below the delta start offset %d: only rows are left there; %s", offset, p.Index, b.DeltaStart, sel.readable(p))
}

// readable says where a partition can be read, and what to do next.
func (sel selection) readable(p *keyframer.Partition) string {
	b := p.Bounds()
	return fmt.Sprintf("its state can be read from offset %d to %d: keyframe frames list %s shows the key frames and their times, "+
		"keyframe state scan %s --partition %d --at %d the oldest state", b.DeltaStart, b.LastStable, sel.topic.Name, sel.topic.Name, p.Index, b.DeltaStart)
}

// sameLife refuses a request that is about another incarnation of the partition's log; it need not name one.
func (sel selection) sameLife(p *keyframer.Partition, incarnation []byte, offset int64) error {
	if len(incarnation) == 0 || bytes.Equal(incarnation, p.Incarnation[:]) {
		return nil
	}
	return refuseAt(api.Reason_REASON_OTHER_INCARNATION, sel.topic, p, offset,
		"partition %d of topic %q was created anew: its incarnation is %x", p.Index, sel.topic.Name, p.Incarnation)
}

// wait waits until the keyframer has reached what the request asks for: what was committed when it came, or other points.
func (s *Server) wait(ctx context.Context, sel selection, minOffsets []*api.PartitionOffset) error {
	var targets map[int32]int64
	if len(minOffsets) > 0 {
		var err error
		if targets, err = sel.byPartition(minOffsets); err != nil {
			return err
		}
	} else {
		targets = make(map[int32]int64, len(sel.partitions))
		for _, p := range sel.partitions {
			targets[p.Index] = p.Bounds().LastStable
		}
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.WaitTimeout)
	defer cancel()
	for _, p := range sel.partitions {
		target, ok := targets[p.Index]
		if !ok {
			continue
		}
		if sel.topic.Settings().Paused && p.Position() < target { // waiting is of no use
			return refuse(api.Reason_REASON_NOT_KEY_FRAMED, &api.ErrorDetail{Topic: sel.topic.Name, Partition: &p.Index},
				"topic %q is not key-framed any more: partition %d has been applied up to %d and no further; the last fold can be read", sel.topic.Name,
				p.Index, p.Position())
		}
		err := p.WaitApplied(bounded, target)
		if err != nil && bounded.Err() != nil && ctx.Err() == nil {
			s.metrics.waits.WithLabelValues("behind").Inc()
			return refuseAt(api.Reason_REASON_BEHIND, sel.topic, p, target,
				"partition %d has been applied up to %d and not yet up to %d: try again, or read the last fold", p.Index, p.Position(), target)
		}
		if err != nil {
			return describe(sel.topic, p, err)
		}
	}
	s.metrics.waits.WithLabelValues("reached").Inc()
	return nil
}
