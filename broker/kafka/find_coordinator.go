package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// What a FindCoordinator key names.
const (
	coordinatorGroup       = 0
	coordinatorTransaction = 1
)

// findCoordinator names the node that coordinates a group or a transactional id: this one. Other kinds of coordinators do
// not exist here.
func (h *Handler) findCoordinator(_ context.Context, r *wire.Request, req *kmsg.FindCoordinatorRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	c := kmsg.FindCoordinatorResponseCoordinator{NodeID: NodeID}
	c.Host, c.Port = h.advertised(r.Conn)
	if req.CoordinatorType != coordinatorGroup && req.CoordinatorType != coordinatorTransaction {
		c = kmsg.FindCoordinatorResponseCoordinator{NodeID: -1, Port: -1, ErrorCode: invalidRequest}
	}
	if req.Version < 4 {
		resp.NodeID, resp.Host, resp.Port, resp.ErrorCode = c.NodeID, c.Host, c.Port, c.ErrorCode
		resp.ErrorMessage = coordinatorMessage(c.ErrorCode)
		return wire.Reply(resp)
	}
	for _, key := range req.CoordinatorKeys {
		c.Key, c.ErrorMessage = key, ptr("")
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return wire.Reply(resp)
}

// coordinatorMessage is Kafka's, which has one for success, too.
func coordinatorMessage(code int16) *string {
	if code == none {
		return ptr("NONE")
	}
	return ptr("This most likely occurs because of a request being malformed by the client library or the message was sent to an" +
		" incompatible broker. See the broker logs for more details.")
}
