package kafka

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// offsetFetch reads the offsets of a group, or of several from v8 on. It does so in its turn, so that it sees the commits
// that were sent before it on the same connection. With require_stable an offset that an open transaction may change is told as
// UNSTABLE_OFFSET_COMMIT, and the client asks again (KIP-447).
func (h *Handler) offsetFetch(_ context.Context, _ *wire.Request, req *kmsg.OffsetFetchRequest) wire.Response {
	return wire.Later(func(context.Context) wire.Message {
		resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		if req.Version >= 8 {
			whole := map[string]bool{} // groups that everything is told of: once
			for _, g := range req.Groups {
				if g.Topics == nil && whole[g.Group] {
					continue
				}
				whole[g.Group] = whole[g.Group] || g.Topics == nil
				resp.Groups = append(resp.Groups, h.fetchGroup(g, req.Version, req.RequireStable))
			}
			return resp
		}
		// The group-wise form is the same thing, once more wrapped.
		g := kmsg.OffsetFetchRequestGroup{Group: req.Group}
		if req.Topics != nil {
			g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
		}
		for i, t := range req.Topics {
			g.Topics[i] = kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions}
		}
		for _, t := range h.fetchGroup(g, req.Version, req.RequireStable).Topics {
			out := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, kmsg.OffsetFetchResponseTopicPartition(p))
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	})
}

// fetchGroup reads what is asked of one group; without topics, all that it has.
func (h *Handler) fetchGroup(g kmsg.OffsetFetchRequestGroup, version int16, requireStable bool) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.OffsetFetchResponseGroup{Group: g.Group}
	if version >= 9 {
		if resp.ErrorCode = kerrCode(h.cfg.Groups.CheckFetch(g.Group, g.MemberID, g.MemberEpoch)); resp.ErrorCode != none {
			return resp
		}
	}
	if g.Topics == nil {
		resp.Topics = h.allOffsets(g.Group, version, requireStable)
		return resp
	}
	for _, rt := range g.Topics {
		out := kmsg.OffsetFetchResponseGroupTopic{Topic: rt.Topic, TopicID: rt.TopicID}
		name, code := rt.Topic, none
		if version >= 10 {
			if t, c := h.lookup(topicRef{id: rt.TopicID, byID: true}); c == none {
				name = t.Name
			} else {
				code = c
			}
		}
		for _, index := range rt.Partitions {
			p := kmsg.OffsetFetchResponseGroupTopicPartition{
				Partition: index, Offset: -1, LeaderEpoch: -1, Metadata: ptr(""), ErrorCode: code}
			if code == none && requireStable && h.cfg.Groups.Unstable(g.Group, name, index) {
				p.ErrorCode = unstableOffsetCommit
			} else if o, ok := h.cfg.Groups.Offset(g.Group, name, index); ok && code == none {
				p = fetchedOffset(index, o)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// allOffsets are the offsets of a group by topic and partition. From v10 on a topic is named by its id, and one that has
// none any more is left out. What is unstable is told as such with requireStable only.
func (h *Handler) allOffsets(name string, version int16, requireStable bool) (topics []kmsg.OffsetFetchResponseGroupTopic) {
	type place struct {
		topic     string
		partition int32
	}
	all, unstable := h.cfg.Groups.Offsets(name), map[place]bool{}
	if requireStable {
		for _, o := range h.cfg.Groups.UnstableOffsets(name) {
			unstable[place{o.Topic, o.Partition}] = true
		}
	}
	slices.SortFunc(all, func(a, b group.PartitionOffset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	last := ""
	for _, o := range all {
		if o.Topic != last || topics == nil {
			out := kmsg.OffsetFetchResponseGroupTopic{Topic: o.Topic}
			if version >= 10 {
				t, code := h.lookup(topicRef{name: o.Topic})
				if code != none {
					continue
				}
				out.TopicID = t.ID
			}
			last = o.Topic
			topics = append(topics, out)
		}
		t := &topics[len(topics)-1]
		p := fetchedOffset(o.Partition, o.Offset)
		if unstable[place{o.Topic, o.Partition}] {
			p = kmsg.OffsetFetchResponseGroupTopicPartition{Partition: o.Partition, Offset: -1, LeaderEpoch: -1, Metadata: ptr(""), ErrorCode: unstableOffsetCommit}
		}
		t.Partitions = append(t.Partitions, p)
	}
	return topics
}

func fetchedOffset(partition int32, o group.Offset) kmsg.OffsetFetchResponseGroupTopicPartition {
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: partition, Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: ptr(o.Metadata)}
}
