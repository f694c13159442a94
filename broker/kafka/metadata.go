package kafka

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// Bit sets of ACL operations, as Kafka without an authorizer answers them: everything that exists for the resource.
const (
	topicOperations   int32 = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11 // read, write, create, delete, alter, describe, describe configs, alter configs
	clusterOperations int32 = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12       // create, alter, describe, cluster action, describe and alter configs, idempotent write
)

// metadata describes the cluster and topics, and creates topics that are asked for by name where that is allowed.
func (h *Handler) metadata(ctx context.Context, r *wire.Request, req *kmsg.MetadataRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	host, port := h.advertised(r.Conn)
	resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: NodeID, Host: host, Port: port}}
	resp.ClusterID = ptr(h.cfg.ClusterID)
	resp.ControllerID = NodeID
	resp.AuthorizedOperations = noOperations
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	// All topics: no list, or in v0, which has no way to send none, an empty one.
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, t := range h.cfg.Registry.List() {
			resp.Topics = append(resp.Topics, h.describeTopic(t, req))
		}
		return wire.Reply(resp)
	}
	idsRefused := req.Version < 12 && slices.ContainsFunc(req.Topics, namedByID) // v10 and v11 have ids in their answers only
	type asked struct {
		name string
		id   [16]byte
	}
	seen := map[asked]bool{} // each once: an answer may be a thousand times larger than its question
	for _, rt := range req.Topics {
		a := asked{id: rt.TopicID}
		if !namedByID(rt) {
			a.name = "name " + *rt.Topic
		}
		if seen[a] {
			continue
		}
		seen[a] = true
		if idsRefused {
			resp.Topics = append(resp.Topics, kmsg.MetadataResponseTopic{
				ErrorCode: invalidRequest, Topic: rt.Topic, TopicID: rt.TopicID, AuthorizedOperations: noOperations})
			continue
		}
		resp.Topics = append(resp.Topics, h.metadataTopic(ctx, rt, req))
	}
	return wire.Reply(resp)
}

// namedByID says whether a topic is meant by its id: that counts where there is a name too.
func namedByID(rt kmsg.MetadataRequestTopic) bool {
	return rt.Topic == nil || rt.TopicID != [16]byte{}
}

func (h *Handler) metadataTopic(ctx context.Context, rt kmsg.MetadataRequestTopic, req *kmsg.MetadataRequest) kmsg.MetadataResponseTopic {
	failed := func(code int16) kmsg.MetadataResponseTopic {
		return kmsg.MetadataResponseTopic{ErrorCode: code, Topic: rt.Topic, TopicID: rt.TopicID, AuthorizedOperations: noOperations}
	}
	if namedByID(rt) {
		t, code := h.lookup(topicRef{id: rt.TopicID, byID: true})
		if code != none {
			return failed(code)
		}
		return h.describeTopic(t, req)
	}
	t, ok := h.cfg.Registry.Get(*rt.Topic)
	if !ok {
		if err := topics.CheckName(*rt.Topic); err != nil {
			return failed(codeOf(err))
		}
		if h.cfg.NoAutoCreate || req.Version >= 4 && !req.AllowAutoTopicCreation {
			return failed(unknownTopicOrPartition)
		}
		var code int16
		if t, code = h.autoCreate(ctx, *rt.Topic); code != none {
			return failed(code)
		}
	}
	return h.describeTopic(t, req)
}

// autoCreate creates a topic with the broker's defaults; another request may have been first.
func (h *Handler) autoCreate(ctx context.Context, name string) (*topics.Topic, int16) {
	t, err := h.cfg.Registry.Create(ctx, topics.Spec{Name: name, Partitions: -1})
	if err == nil {
		return t, none
	}
	if t, ok := h.cfg.Registry.Get(name); ok {
		return t, none
	}
	h.cfg.Logger.Warn("cannot create the topic that a client asked for", "topic", name, "error", err)
	return nil, codeOf(err)
}

func (h *Handler) describeTopic(t *topics.Topic, req *kmsg.MetadataRequest) kmsg.MetadataResponseTopic {
	mt := kmsg.MetadataResponseTopic{Topic: ptr(t.Name), TopicID: t.ID, AuthorizedOperations: noOperations}
	if req.IncludeTopicAuthorizedOperations {
		mt.AuthorizedOperations = topicOperations
	}
	mt.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		mt.Partitions[i] = kmsg.MetadataResponseTopicPartition{
			Partition: int32(i), Leader: NodeID, LeaderEpoch: h.cfg.LeaderEpoch,
			Replicas: []int32{NodeID}, ISR: []int32{NodeID}, OfflineReplicas: []int32{},
		}
	}
	return mt
}

// advertised is the address that clients are told to connect to.
func (h *Handler) advertised(c *wire.Conn) (host string, port int32) {
	port = h.cfg.AdvertisedPort
	if port == 0 {
		if _, p, err := net.SplitHostPort(c.LocalAddr().String()); err == nil {
			n, _ := strconv.ParseUint(p, 10, 16)
			port = int32(n)
		}
	}
	return h.cfg.AdvertisedHost, cmp.Or(port, 9092)
}
