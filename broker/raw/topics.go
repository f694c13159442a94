package raw

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var names atomic.Int64

// TopicName is a name that no other test or run uses, as the broker may outlive the test.
func TopicName(t testing.TB) string {
	return fmt.Sprintf("%s-%d-%d", strings.NewReplacer("/", "-", ",", "-").Replace(t.Name()), time.Now().UnixNano(), names.Add(1))
}

// Topic is a topic that CreateTopic made, or one that there is not.
type Topic struct {
	Name string
	ID   [16]byte
}

// CreateTopic creates a topic, with configs as name, value, name, value; and waits until it can be used.
func CreateTopic(c *Conn, partitions int32, configs ...string) Topic {
	c.T.Helper()
	return CreateNamed(c, TopicName(c.T), partitions, configs...)
}

// CreateNamed is CreateTopic under a name of the test's choice.
func CreateNamed(c *Conn, name string, partitions int32, configs ...string) Topic {
	c.T.Helper()
	answers := CreateTopics(c, 7, false, NewTopic(name, partitions, 1, configs...))
	require.Contains(c.T, answers, name)
	RequireCode(c.T, 0, answers[name].ErrorCode, answers[name].ErrorMessage)
	made := Topic{name, answers[name].TopicID}
	require.Eventually(c.T, func() bool {
		mt := DescribeTopic(c, name)
		for _, p := range mt.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return false
			}
		}
		return mt.ErrorCode == 0 && len(mt.Partitions) == int(max(partitions, 1)) && CanRead(c, made)
	}, time.Minute, time.Millisecond)
	return made
}

// CanRead tells whether all partitions can be read, which comes a moment after a leader was elected.
func CanRead(c *Conn, t Topic) bool {
	for i := range DescribeTopic(c, t.Name).Partitions {
		if ListOffset(c, t, int32(i), -1).ErrorCode != 0 {
			return false
		}
	}
	return true
}

// DescribeTopic returns one topic's metadata, without creating it.
func DescribeTopic(c *Conn, name string) kmsg.MetadataResponseTopic {
	c.T.Helper()
	resp := Metadata(c, 12, false, name)
	require.Len(c.T, resp.Topics, 1)
	return resp.Topics[0]
}

// Metadata asks for topics by name, and may let the broker create them.
func Metadata(c *Conn, version int16, create bool, names ...string) *kmsg.MetadataResponse {
	c.T.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = version, create
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	}
	return Do[*kmsg.MetadataResponse](c, req)
}

// CreateTopics returns the answers by topic.
func CreateTopics(c *Conn, version int16, validateOnly bool, list ...kmsg.CreateTopicsRequestTopic) map[string]kmsg.CreateTopicsResponseTopic {
	c.T.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.ValidateOnly, req.TimeoutMillis, req.Topics = version, validateOnly, 10_000, list
	answers := map[string]kmsg.CreateTopicsResponseTopic{}
	for _, a := range Do[*kmsg.CreateTopicsResponse](c, req).Topics {
		answers[a.Topic] = a
	}
	return answers
}

// NewTopic is a topic of a request to create it, with configs as name, value, name, value.
func NewTopic(name string, partitions int32, replicas int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, replicas
	for i := 0; i < len(configs); i += 2 {
		rt.Configs = append(rt.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	return rt
}
