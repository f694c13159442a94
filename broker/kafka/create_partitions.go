package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// createPartitions gives topics more partitions, or only checks it, each independently of the others. A topic never gets fewer.
func (h *Handler) createPartitions(ctx context.Context, r *wire.Request, req *kmsg.CreatePartitionsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	times := map[string]int{}
	for _, rt := range req.Topics {
		times[rt.Topic]++
	}
	for _, rt := range req.Topics {
		n, answered := times[rt.Topic]
		if !answered {
			continue // a duplicate, answered once
		}
		delete(times, rt.Topic)
		out := kmsg.CreatePartitionsResponseTopic{Topic: rt.Topic}
		if n > 1 {
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("Duplicate topic name.")
		} else if err := h.growTopic(ctx, r, &rt, req.ValidateOnly); err != nil {
			out.ErrorCode, out.ErrorMessage = refusalOf(err)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Reply(resp)
}

func (h *Handler) growTopic(ctx context.Context, r *wire.Request, rt *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	if err := h.cfg.Registry.CheckGrow(rt.Topic, rt.Count); err != nil {
		return err
	}
	t, code := h.lookup(topicRef{name: rt.Topic})
	if code != none {
		return &refusal{code, "This server does not host this topic."}
	}
	more := int(rt.Count) - len(t.Partitions)
	if rt.Assignment != nil {
		if more != len(rt.Assignment) {
			return &refusal{invalidReplicaAssignment, fmt.Sprintf("Attempted to add %d additional partition(s), but only %d assignment(s) were specified.",
				more, len(rt.Assignment))}
		}
		for _, a := range rt.Assignment {
			if refused := checkReplicas(a.Replicas); refused != nil {
				return refused
			}
		}
	}
	const strictSince = 3
	if err := h.mutates(r, more, r.Version >= strictSince); err != nil {
		return err
	}
	if validateOnly {
		return nil
	}
	_, err := h.cfg.Registry.Grow(ctx, rt.Topic, rt.Count)
	return err
}
