package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// The types of endpoints (KIP-919). This is one of brokers.
const (
	brokerEndpoint     = 1
	controllerEndpoint = 2
)

// describeCluster names the only broker, which is also the controller.
func (h *Handler) describeCluster(_ context.Context, r *wire.Request, req *kmsg.DescribeClusterRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType = brokerEndpoint
	resp.ControllerID = -1
	resp.ClusterAuthorizedOperations = noOperations
	if req.Version >= 1 && req.EndpointType != brokerEndpoint {
		if req.EndpointType == controllerEndpoint {
			resp.ErrorCode, resp.ErrorMessage = mismatchedEndpointType, ptr("The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
		} else {
			resp.ErrorCode, resp.ErrorMessage = unsupportedEndpointType, ptr(fmt.Sprintf("Unsupported endpoint type %d", req.EndpointType))
		}
		return wire.Reply(resp)
	}
	host, port := h.advertised(r.Conn)
	resp.ClusterID, resp.ControllerID = h.cfg.ClusterID, NodeID
	resp.Brokers = []kmsg.DescribeClusterResponseBroker{{NodeID: NodeID, Host: host, Port: port}}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	return wire.Reply(resp)
}
