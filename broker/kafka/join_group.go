package kafka

import (
	"context"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// joinGroup makes the client a member of a group, or lets a member join the next generation. The answer comes when the
// join phase is over.
func (h *Handler) joinGroup(_ context.Context, r *wire.Request, req *kmsg.JoinGroupRequest) wire.Response {
	join := group.JoinRequest{
		MemberID: req.MemberID, InstanceID: orEmpty(req.InstanceID),
		ClientID: r.ClientID, ClientHost: clientHost(r.Conn.RemoteAddr()),
		ProtocolType:     req.ProtocolType,
		SessionTimeout:   milliseconds(req.SessionTimeoutMillis),
		RebalanceTimeout: milliseconds(req.RebalanceTimeoutMillis),
		RequireMemberID:  req.Version >= 4,
		SkipsAssignment:  req.Version >= 9,
	}
	if req.Version == 0 || req.RebalanceTimeoutMillis < 0 {
		join.RebalanceTimeout = join.SessionTimeout // v0 has only the one
	}
	for _, p := range req.Protocols {
		join.Protocols = append(join.Protocols, group.Protocol{Name: p.Name, Metadata: p.Metadata})
	}
	ch := make(chan group.JoinReply, 1)
	h.cfg.Groups.Join(req.Group, join, func(reply group.JoinReply) { ch <- reply })
	gone := group.JoinReply{Err: kerr.NotCoordinator, MemberID: req.MemberID, Generation: -1}
	return answerWith(r, ch, &gone, func(reply group.JoinReply) wire.Message { return joinResponse(req, reply) })
}

func joinResponse(req *kmsg.JoinGroupRequest, reply group.JoinReply) wire.Message {
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.ErrorCode = kerrCode(reply.Err)
	resp.Generation = reply.Generation
	resp.LeaderID, resp.MemberID, resp.SkipAssignment = reply.Leader, reply.MemberID, reply.SkipAssignment
	resp.ProtocolType, resp.Protocol = orNull(reply.ProtocolType), orNull(reply.Protocol)
	for _, m := range reply.Members {
		resp.Members = append(resp.Members, kmsg.JoinGroupResponseMember{
			MemberID: m.MemberID, InstanceID: orNull(m.InstanceID), ProtocolMetadata: m.Metadata})
	}
	return resp
}

// clientHost is how Kafka shows where a member is: Java's InetAddress.toString without a name.
func clientHost(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		host = addr.String()
	}
	return "/" + host
}
