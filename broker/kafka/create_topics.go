package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// refusal is an error with the code and text that the client gets.
type refusal struct {
	code int16
	text string
}

func (r *refusal) Error() string { return r.text }

// metadataTopic is where Kafka's controllers keep their log.
const metadataTopic = "__cluster_metadata"

// maxPartitionsPerRequest is Kafka's.
const maxPartitionsPerRequest = 10_000

// createTopics creates each topic of the request, or only checks it, independently of the others.
func (h *Handler) createTopics(ctx context.Context, r *wire.Request, req *kmsg.CreateTopicsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	seen := map[string]int{}
	total := 0
	for _, rt := range req.Topics {
		seen[rt.Topic]++
		total += max(int(rt.NumPartitions), len(rt.ReplicaAssignment), 1)
	}
	for _, rt := range req.Topics {
		n, answered := seen[rt.Topic]
		if !answered {
			continue // a duplicate, answered once
		}
		out := kmsg.CreateTopicsResponseTopic{Topic: rt.Topic, NumPartitions: -1, ReplicationFactor: -1}
		if total > maxPartitionsPerRequest {
			out.ErrorCode, out.ErrorMessage = policyViolation, ptr("Excessively large number of partitions per request.")
		} else if n > 1 {
			delete(seen, rt.Topic)
			out.ErrorCode, out.ErrorMessage = invalidRequest, ptr("Duplicate topic name.")
		} else if err := h.createTopic(ctx, r, &rt, req.ValidateOnly, &out); err != nil {
			out.ErrorCode, out.ErrorMessage = refusalOf(err)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Reply(resp)
}

func refusalOf(err error) (int16, *string) {
	if r, ok := err.(*refusal); ok {
		return r.code, &r.text
	}
	return codeOf(err), ptr(err.Error())
}

func (h *Handler) createTopic(ctx context.Context, r *wire.Request, rt *kmsg.CreateTopicsRequestTopic, validateOnly bool, out *kmsg.CreateTopicsResponseTopic) error {
	spec := topics.Spec{Name: rt.Topic, Configs: make(map[string]string, len(rt.Configs))}
	// Name and existence come before all else, then the configs, then replicas and partitions, as in Kafka.
	if rt.Topic == metadataTopic {
		return &refusal{invalidRequest, "Creation of internal topic " + metadataTopic + " is prohibited."}
	}
	if err := topics.CheckName(rt.Topic); err != nil {
		return err
	}
	if _, ok := h.cfg.Registry.Get(rt.Topic); ok {
		return &refusal{topicAlreadyExists, fmt.Sprintf("Topic '%s' already exists.", rt.Topic)}
	}
	for _, c := range rt.Configs {
		if c.Value == nil {
			return &refusal{invalidConfig, "Null value not supported for topic configs: " + c.Name}
		}
		spec.Configs[c.Name] = *c.Value
	}
	if err := h.cfg.Registry.CheckSpecConfigs(spec); err != nil {
		return err
	}
	var err error
	if spec.Partitions, err = partitionsAsked(rt); err != nil {
		return err
	}
	spec, cfg, err := h.cfg.Registry.Check(spec)
	if err != nil {
		return err
	}
	const strictSince = 6
	if err := h.mutates(r, int(spec.Partitions), r.Version >= strictSince); err != nil {
		return err
	}
	if !validateOnly {
		t, err := h.cfg.Registry.Create(ctx, spec)
		if err != nil {
			return err
		}
		out.TopicID, cfg = t.ID, t.Config()
	}
	out.NumPartitions, out.ReplicationFactor = spec.Partitions, 1
	for _, v := range h.topicValues(cfg) {
		out.Configs = append(out.Configs, kmsg.CreateTopicsResponseTopicConfig{Name: v.Name, Value: v.Value, Source: int8(v.Source)})
	}
	return nil
}

// partitionsAsked checks numbers and assignments and returns the number of partitions, -1 for the default.
func partitionsAsked(rt *kmsg.CreateTopicsRequestTopic) (int32, error) {
	if len(rt.ReplicaAssignment) > 0 {
		return assignedPartitions(rt)
	}
	if rt.ReplicationFactor == 0 || rt.ReplicationFactor < -1 {
		return 0, &refusal{invalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."}
	}
	if rt.NumPartitions == 0 || rt.NumPartitions < -1 {
		return 0, &refusal{invalidPartitions, "Number of partitions was set to an invalid non-positive value."}
	}
	if rt.ReplicationFactor > 1 {
		return 0, &refusal{invalidReplicationFactor, fmt.Sprintf("Unable to replicate the partition %d time(s): The target replication factor of %d "+
			"cannot be reached because only 1 broker(s) are registered.", rt.ReplicationFactor, rt.ReplicationFactor)}
	}
	return rt.NumPartitions, nil
}

func assignedPartitions(rt *kmsg.CreateTopicsRequestTopic) (int32, error) {
	if rt.NumPartitions != -1 {
		return 0, &refusal{invalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1."}
	}
	if rt.ReplicationFactor != -1 {
		return 0, &refusal{invalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1."}
	}
	seen := make(map[int32]bool, len(rt.ReplicaAssignment))
	for _, a := range rt.ReplicaAssignment {
		if seen[a.Partition] {
			return 0, &refusal{invalidReplicaAssignment, fmt.Sprintf("Found multiple manual partition assignments for partition %d", a.Partition)}
		}
		seen[a.Partition] = true
		if len(a.Replicas) != 1 || a.Replicas[0] != NodeID {
			return 0, &refusal{invalidReplicaAssignment, fmt.Sprintf("The manual partition assignment of partition %d must name broker %d, the only one.", a.Partition, NodeID)}
		}
	}
	for i := range int32(len(rt.ReplicaAssignment)) {
		if !seen[i] {
			return 0, &refusal{invalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence"}
		}
	}
	return int32(len(rt.ReplicaAssignment)), nil
}
