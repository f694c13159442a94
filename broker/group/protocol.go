package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// supportsProtocols says that the group can go on with a member of these protocols.
func (g *Group) supportsProtocols(r *JoinRequest) bool {
	if len(g.members) == 0 {
		return r.ProtocolType != "" && len(r.Protocols) > 0
	}
	if r.ProtocolType != g.protocolType {
		return false
	}
	for _, p := range r.Protocols {
		if g.supportedByAll(p.Name) {
			return true
		}
	}
	return false
}

func (g *Group) supportedByAll(protocol string) bool {
	for _, m := range g.members {
		if !m.supports(protocol) {
			return false
		}
	}
	return true
}

// selectProtocol is the protocol of the next generation: each member votes for the first in its list that all members
// support. Equal votes: the one that came first in the order of the members.
func (g *Group) selectProtocol() string {
	votes := map[string]int{}
	var order []string
	for _, m := range g.members {
		for _, p := range m.protocols {
			if !g.supportedByAll(p.Name) {
				continue
			}
			if votes[p.Name] == 0 {
				order = append(order, p.Name)
			}
			votes[p.Name]++
			break
		}
	}
	best := ""
	for _, name := range order {
		if best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// subscriptions are the topics that the members of a consumer group want, nil when that is not known: another protocol
// type, or metadata that does not parse.
func (g *Group) subscriptions() map[string]struct{} {
	if g.protocolType != consumerType {
		return nil
	}
	topics := map[string]struct{}{}
	for _, m := range g.members {
		var meta kmsg.ConsumerMemberMetadata
		if err := meta.ReadFrom(m.metadata(g.protocol)); err != nil {
			return nil
		}
		for _, topic := range meta.Topics {
			topics[topic] = struct{}{}
		}
	}
	return topics
}
