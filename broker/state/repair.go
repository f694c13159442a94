package state

import (
	"context"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/repair"
	api "github.com/keyframelog/keyframe/proto/state"
)

// repairRequest is what Sketch, Resolve and Tags have in common.
type repairRequest interface {
	GetTopic() string
	GetPartition() int32
	GetIncarnation() []byte
	GetCut() int64
	GetNaming() bool
}

// repairing is a frame that one call answers from.
type repairing struct {
	*repair.Frame
	topic     *keyframer.Topic
	partition *keyframer.Partition
	message   *api.Frame
	cancel    context.CancelFunc
}

// openRepair opens the frame that a call is about; close it. The context is that of the call, bounded.
func (s *service) openRepair(parent context.Context, m repairRequest) (context.Context, *repairing, error) {
	index := m.GetPartition()
	sel, err := s.selectPartitions(m.GetTopic(), &index)
	if err != nil {
		return nil, nil, err
	}
	p := sel.partitions[0]
	if err := sel.sameLife(p, m.GetIncarnation(), m.GetCut()); err != nil {
		return nil, nil, err
	}
	if m.GetCut() < 0 {
		return nil, nil, refuseAt(api.Reason_REASON_UNKNOWN_FRAME, sel.topic, p, m.GetCut(), "there is no key frame at a negative offset")
	}
	t, err := p.Table()
	if err != nil {
		return nil, nil, describe(sel.topic, p, err)
	}
	ctx, cancel := context.WithTimeout(parent, s.cfg.ScanTime)
	f, err := s.cfg.Repairs.Open(ctx, repair.Source{Topic: sel.topic.Name, TopicID: sel.topic.ID, Partition: p.Index, Table: t, Naming: m.GetNaming()}, m.GetCut())
	if err != nil {
		cancel()
		return nil, nil, describe(sel.topic, p, err)
	}
	return ctx, &repairing{Frame: f, topic: sel.topic, partition: p, message: frameOf(sel.topic, p, t, f.Frame()), cancel: cancel}, nil
}

func (r *repairing) close() {
	r.Release()
	r.cancel()
}

func (r *repairing) describe(err error) error { return describe(r.topic, r.partition, err) }
