package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// Groups is the consumer group coordinator.
type Groups = *group.Coordinator

// groupOperations are the ACL operations on a group, as Kafka without an authorizer answers them: read, delete, describe,
// describe configs, alter configs.
const groupOperations int32 = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

const groupIDNotFound int16 = 69

// groupHandlers are the consumer group APIs: API key to handler, merged into the dispatch table by New. Each API
// has a file of its own (join_group.go, ...).
func groupHandlers() map[int16]handlerFunc {
	return map[int16]handlerFunc{
		8:  handle((*Handler).offsetCommit),
		9:  handle((*Handler).offsetFetch),
		10: handle((*Handler).findCoordinator),
		11: handle((*Handler).joinGroup),
		12: handle((*Handler).heartbeat),
		13: handle((*Handler).leaveGroup),
		14: handle((*Handler).syncGroup),
		15: handle((*Handler).describeGroups),
		16: handle((*Handler).listGroups),
		42: handle((*Handler).deleteGroups),
		47: handle((*Handler).offsetDelete),

		keyConsumerGroupHeartbeat: handle((*Handler).consumerGroupHeartbeat),
		69:                        handle((*Handler).consumerGroupDescribe),
	}
}

// answerWith answers with what comes through the channel. It may come at once; if not, a rebalance or a disk is waited
// for. A wait that abandoned is set for ends with that answer when the server drains: a rebalance may take minutes.
func answerWith[T any](r *wire.Request, ch <-chan T, abandoned *T, answer func(T) wire.Message) wire.Response {
	select {
	case v := <-ch:
		return wire.Reply(answer(v))
	default:
	}
	return wire.Later(func(ctx context.Context) wire.Message {
		var draining <-chan struct{}
		if abandoned != nil {
			draining = r.Conn.Draining()
		}
		select {
		case v := <-ch:
			return answer(v)
		case <-draining:
			return answer(*abandoned)
		case <-ctx.Done():
			return nil
		}
	})
}

// kerrCode is the code of a coordinator's error; nil is success.
func kerrCode(err *kerr.Error) int16 {
	if err == nil {
		return none
	}
	return err.Code
}

func milliseconds(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }

// orEmpty takes null for "".
func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// orNull takes "" for null.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
