package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// deleteTopics deletes topics by name, or by name or id from v6 on.
func (h *Handler) deleteTopics(ctx context.Context, r *wire.Request, req *kmsg.DeleteTopicsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	asked := req.Topics
	for _, name := range req.TopicNames {
		asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: ptr(name)})
	}
	names, ids := map[string]int{}, map[[16]byte]int{}
	for _, a := range asked {
		if a.Topic != nil {
			names[*a.Topic]++
		} else {
			ids[a.TopicID]++
		}
	}
	for _, a := range asked {
		out := kmsg.DeleteTopicsResponseTopic{Topic: a.Topic, TopicID: a.TopicID}
		switch {
		case a.Topic != nil && a.TopicID != [16]byte{}:
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("Both topic name and topic id were given.")
		case a.Topic == nil && a.TopicID == [16]byte{}:
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("Neither topic name nor id were specified.")
		case a.Topic != nil && names[*a.Topic] > 1 || a.Topic == nil && ids[a.TopicID] > 1:
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("Duplicate topic in the request.")
		default:
			h.deleteTopic(ctx, r, a, &out)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Reply(resp)
}

func (h *Handler) deleteTopic(ctx context.Context, r *wire.Request, a kmsg.DeleteTopicsRequestTopic, out *kmsg.DeleteTopicsResponseTopic) {
	ref := topicRef{id: a.TopicID, byID: a.Topic == nil}
	if a.Topic != nil {
		ref.name = *a.Topic
	}
	t, code := h.lookup(ref)
	if code != none {
		out.ErrorCode, out.ErrorMessage = code, ptr("This server does not host this topic.")
		return
	}
	out.Topic, out.TopicID = ptr(t.Name), t.ID
	const strictSince = 5
	if err := h.mutates(r, len(t.Partitions), r.Version >= strictSince); err != nil {
		out.ErrorCode, out.ErrorMessage = refusalOf(err)
		return
	}
	if err := h.cfg.Registry.Delete(ctx, t.Name); err != nil {
		h.cfg.Logger.Error("cannot delete a topic", "topic", t.Name, "error", err)
		out.ErrorCode, out.ErrorMessage = codeOf(err), ptr(err.Error())
	}
}
