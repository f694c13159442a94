package conformance_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// apis are those of clients and tools, with the versions that a 4.x broker offers.
var apis = map[int16][2]int16{
	0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9}, 12: {0, 4}, 13: {0, 5}, 14: {0, 5},
	15: {0, 6}, 16: {0, 5}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6}, 21: {0, 2}, 22: {0, 5}, 23: {2, 4}, 32: {1, 4}, 37: {0, 3}, 42: {0, 2},
	44: {0, 1}, 47: {0, 0}, // every client
	24: {0, 5}, 25: {0, 4}, 26: {0, 5}, 27: {1, 2}, 28: {0, 5}, 61: {0, 0}, 65: {0, 0}, 66: {0, 2}, // transactions
	68: {0, 1}, 69: {0, 1}, // new groups
	33: {0, 2}, 35: {1, 5}, 43: {0, 2}, 45: {0, 1}, 46: {0, 0}, 48: {0, 1}, 49: {0, 1}, 60: {0, 2}, 57: {0, 2}, 74: {0, 1}, 75: {0, 0}, // admin
	29: {1, 3}, 30: {1, 3}, 31: {1, 3}, // security
}

func TestApiVersionsRanges(t *testing.T) {
	c := start(t).Dial(t)
	offered := map[int16][2]int16{}
	for _, k := range raw.Do[*kmsg.ApiVersionsResponse](c, apiVersionsRequest(4)).ApiKeys {
		require.NotContains(t, offered, k.ApiKey)
		offered[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	for key, versions := range apis {
		require.Equal(t, versions, offered[key], "%s (%d)", kmsg.NameForKey(key), key)
	}
}

// Each version of each API answers a request with one of everything in it: byte for byte what this version of the answer
// looks like, with error codes that clients know.
func TestEveryVersionAnswers(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	for _, key := range slices.Sorted(maps.Keys(apis)) {
		versions := apis[key]
		for version := max(versions[0], lowest[key]); version <= versions[1]; version++ {
			t.Run(fmt.Sprintf("%s/%d", kmsg.NameForKey(key), version), func(t *testing.T) {
				c := b.Dial(t)
				req := kmsg.RequestForKey(key)
				fillRequest(reflect.ValueOf(req).Elem(), tp, raw.TopicName(t))
				if change := minimal[key]; change != nil {
					change(req, raw.TopicName(t))
				}
				req.SetVersion(version)
				id := c.Send(req)
				answer := c.ReceiveFrame()
				require.Equal(t, id, int32(binary.BigEndian.Uint32(answer)))
				body := answer[4:]
				resp := req.ResponseKind()
				if key != 18 && resp.IsFlexible() {
					require.Zero(t, body[0], "no tags in the header")
					body = body[1:]
				}
				require.NoError(t, resp.ReadFrom(body))
				require.Equal(t, body, resp.AppendTo(nil))
				requireKnownCodes(t, reflect.ValueOf(resp).Elem())
			})
		}
	}
}

// lowest version that is not merely offered: Produce v0 to v2 are shown to librdkafka and nobody answers them (KAFKA-18659).
var lowest = map[int16]int16{0: 3}

// fillRequest puts one of everything into a request.
func fillRequest(v reflect.Value, tp raw.Topic, unique string) {
	if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
		d.Default()
	}
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if !f.CanSet() || name == "Version" || name == "UnknownTags" {
			continue
		}
		switch f.Kind() {
		case reflect.Slice:
			if f.Type().Elem().Kind() == reflect.Uint8 {
				continue
			}
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			switch e := f.Index(0); e.Kind() {
			case reflect.Struct:
				fillRequest(e, tp, unique)
			case reflect.String:
				e.SetString(text(name, tp, unique))
			}
		case reflect.String:
			f.SetString(text(name, tp, unique))
		case reflect.Array:
			if name == "TopicID" {
				f.Set(reflect.ValueOf(tp.ID))
			}
		case reflect.Pointer:
			if f.Type().Elem().Kind() == reflect.String && name == "Topic" {
				f.Set(reflect.ValueOf(&tp.Name))
			}
		}
	}
}

func text(field string, tp raw.Topic, unique string) string {
	switch field {
	case "Topic", "Topics", "TopicNames":
		return tp.Name
	}
	return unique
}

// minimal makes a request valid enough to be answered, and harmless.
var minimal = map[int16]func(req kmsg.Request, unique string){
	0: func(r kmsg.Request, _ string) {
		req := r.(*kmsg.ProduceRequest)
		req.Acks, req.TransactionID = -1, nil
		req.Topics[0].Partitions[0].Records = raw.Seal(raw.NewBatch(raw.KV("a", "1")))
	},
	1: func(r kmsg.Request, _ string) {
		req := r.(*kmsg.FetchRequest)
		req.ReplicaID, req.SessionEpoch, req.ForgottenTopics, req.MaxBytes = -1, -1, nil, 1<<20
		req.Topics[0].Partitions[0].PartitionMaxBytes = 1 << 20
	},
	2:  func(r kmsg.Request, _ string) { r.(*kmsg.ListOffsetsRequest).ReplicaID = -1 },
	11: func(r kmsg.Request, _ string) { r.(*kmsg.JoinGroupRequest).MemberID = "" },
	19: func(r kmsg.Request, unique string) {
		req := r.(*kmsg.CreateTopicsRequest)
		req.TimeoutMillis = 10_000
		req.Topics = []kmsg.CreateTopicsRequestTopic{raw.NewTopic(unique, 1, 1)}
	},
	20: func(r kmsg.Request, unique string) {
		req := r.(*kmsg.DeleteTopicsRequest)
		req.TimeoutMillis, req.TopicNames[0], req.Topics[0].Topic = 10_000, unique, nil
		req.Topics[0].TopicID = [16]byte{1, 2, 3}
	},
	29: func(r kmsg.Request, _ string) {
		req := r.(*kmsg.DescribeACLsRequest)
		req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 2, 1, 1, 1
	},
	30: func(r kmsg.Request, _ string) {
		one := &r.(*kmsg.CreateACLsRequest).Creations[0]
		one.ResourceType, one.ResourcePatternType, one.Operation, one.PermissionType = 2, 3, 3, 3
	},
	31: func(r kmsg.Request, _ string) {
		one := &r.(*kmsg.DeleteACLsRequest).Filters[0]
		one.ResourceType, one.ResourcePatternType, one.Operation, one.PermissionType = 2, 1, 1, 1
	},
	32: func(r kmsg.Request, _ string) { r.(*kmsg.DescribeConfigsRequest).Resources[0].ResourceType = 2 },
	33: func(r kmsg.Request, _ string) {
		req := r.(*kmsg.AlterConfigsRequest)
		req.ValidateOnly, req.Resources[0].ResourceType = true, 2
	},
	44: func(r kmsg.Request, _ string) {
		req := r.(*kmsg.IncrementalAlterConfigsRequest)
		req.ValidateOnly, req.Resources[0].ResourceType = true, 2
	},
	22: func(r kmsg.Request, _ string) { r.(*kmsg.InitProducerIDRequest).TransactionalID = nil },
	48: func(r kmsg.Request, _ string) {
		req := r.(*kmsg.DescribeClientQuotasRequest)
		req.Components[0].EntityType, req.Components[0].MatchType = "client-id", 2
	},
	49: func(r kmsg.Request, _ string) {
		req := r.(*kmsg.AlterClientQuotasRequest)
		req.ValidateOnly, req.Entries[0].Entity[0].Type, req.Entries[0].Ops[0].Key = true, "client-id", "producer_byte_rate"
		req.Entries[0].Ops[0].Value = 1e6
	},
	57: func(r kmsg.Request, _ string) {
		req := r.(*kmsg.UpdateFeaturesRequest)
		req.ValidateOnly, req.FeatureUpdates[0].Feature, req.FeatureUpdates[0].MaxVersionLevel = true, "metadata.version", 30
	},
	74: func(r kmsg.Request, _ string) { r.(*kmsg.ListConfigResourcesRequest).ResourceTypes[0] = 2 },
}

// requireKnownCodes looks at every error code of an answer.
func requireKnownCodes(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		switch {
		case name == "ErrorCode":
			code := int16(f.Int())
			require.NotContains(t, []int16{-1, 35}, code)
			require.True(t, code == 0 || kerr.TypedErrorForCode(code) != nil, "code %d", code)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			for j := range f.Len() {
				requireKnownCodes(t, f.Index(j))
			}
		}
	}
}
