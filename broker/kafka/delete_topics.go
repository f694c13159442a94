package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// deleteTopics deletes topics by name, or by name or id from v6 on. What is asked for twice, also once by each, is refused once and not
// deleted.
func (h *Handler) deleteTopics(ctx context.Context, r *wire.Request, req *kmsg.DeleteTopicsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	asked := req.Topics
	for _, name := range req.TopicNames {
		asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: ptr(name)})
	}
	names, ids := h.countDeletions(asked)
	for _, a := range asked {
		out := kmsg.DeleteTopicsResponseTopic{Topic: a.Topic, TopicID: a.TopicID}
		byName, byID := a.Topic != nil, a.TopicID != [16]byte{}
		switch {
		case byName && byID:
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("You may not specify both topic name and topic id.")
		case !byName && !byID:
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("Neither topic name nor id were specified.")
		case byName && names[*a.Topic] == 0 || byID && ids[a.TopicID] == 0:
			continue // answered
		case byName && names[*a.Topic] > 1:
			names[*a.Topic] = 0
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("Duplicate topic name.")
		case byID && ids[a.TopicID] > 1:
			ids[a.TopicID] = 0
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("Duplicate topic id.")
		case byID && h.namedToo(a.TopicID, names):
			continue // answered with the name
		case byName && h.identifiedToo(*a.Topic, ids, &out):
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("The provided topic name maps to an ID that was already supplied.")
		default:
			h.deleteTopic(ctx, r, a, &out)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Reply(resp)
}

// countDeletions counts how often each topic is asked for, by name alone and by id alone.
func (h *Handler) countDeletions(asked []kmsg.DeleteTopicsRequestTopic) (names map[string]int, ids map[[16]byte]int) {
	names, ids = map[string]int{}, map[[16]byte]int{}
	for _, a := range asked {
		switch byID := a.TopicID != [16]byte{}; {
		case a.Topic != nil && !byID:
			names[*a.Topic]++
		case a.Topic == nil && byID:
			ids[a.TopicID]++
		}
	}
	return names, ids
}

// namedToo tells whether the topic of an id is asked for by its name as well.
func (h *Handler) namedToo(id [16]byte, names map[string]int) bool {
	t, ok := h.cfg.Registry.ByID(id)
	return ok && names[t.Name] > 0
}

// identifiedToo tells whether the topic of a name is asked for by its id as well, and puts the id into the answer.
func (h *Handler) identifiedToo(name string, ids map[[16]byte]int, out *kmsg.DeleteTopicsResponseTopic) bool {
	t, ok := h.cfg.Registry.Get(name)
	if !ok || ids[t.ID] == 0 {
		return false
	}
	out.TopicID = t.ID
	return true
}

func (h *Handler) deleteTopic(ctx context.Context, r *wire.Request, a kmsg.DeleteTopicsRequestTopic, out *kmsg.DeleteTopicsResponseTopic) {
	ref := topicRef{id: a.TopicID, byID: a.Topic == nil}
	if a.Topic != nil {
		ref.name = *a.Topic
	}
	t, code := h.lookup(ref)
	if code != none {
		out.ErrorCode, out.ErrorMessage = code, ptr("This server does not host this topic-partition.")
		if ref.byID {
			out.ErrorMessage = ptr("This server does not host this topic ID.")
		}
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
