package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// LogDir is where the records are, as DescribeLogDirs tells it.
type LogDir struct {
	Path string
	// Volume is the size of the volume and what is free of it, in bytes; -1 where the system does not say. nil: it does not.
	Volume func() (total, free int64)
}

// describeLogDirs shows the data directory with the sizes of partitions: their raw batches, and below the delta
// start offset keys and values of their rows. Topics and partitions that are not there
// are left out, as in Kafka.
func (h *Handler) describeLogDirs(_ context.Context, _ *wire.Request, req *kmsg.DescribeLogDirsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	dir := kmsg.DescribeLogDirsResponseDir{Dir: h.cfg.LogDir.Path, TotalBytes: -1, UsableBytes: -1}
	if volume := h.cfg.LogDir.Volume; volume != nil {
		dir.TotalBytes, dir.UsableBytes = volume()
	}
	wanted := map[string]map[int32]bool{}
	for _, rt := range req.Topics {
		if wanted[rt.Topic] == nil {
			wanted[rt.Topic] = map[int32]bool{}
		}
		for _, index := range rt.Partitions {
			wanted[rt.Topic][index] = true
		}
	}
	for _, t := range h.cfg.Registry.List() {
		indexes, ok := wanted[t.Name]
		if req.Topics != nil && !ok {
			continue
		}
		var partitions []kmsg.DescribeLogDirsResponseDirTopicPartition
		for _, p := range t.Partitions {
			if req.Topics == nil || indexes[p.Index] {
				partitions = append(partitions, h.sizeOf(t, p))
			}
		}
		if len(partitions) > 0 {
			dir.Topics = append(dir.Topics, kmsg.DescribeLogDirsResponseDirTopic{Topic: t.Name, Partitions: partitions})
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	return wire.Reply(resp)
}

func (h *Handler) sizeOf(t *topics.Topic, p *topics.Partition) kmsg.DescribeLogDirsResponseDirTopicPartition {
	size := p.Log.SizeBytes()
	if b := p.Log.Bounds(); h.cfg.Rows != nil && b.LogStart < b.DeltaStart {
		size += h.cfg.Rows.RowBytes(t, p)
	}
	return kmsg.DescribeLogDirsResponseDirTopicPartition{Partition: p.Index, Size: size}
}
