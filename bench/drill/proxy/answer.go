package proxy

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answer returns what a client is given in place of the broker's answer: the same bytes, unless there is something to change.
func (p *Proxy) answer(req *expected, frame []byte) ([]byte, error) {
	var change func(kmsg.Response) (changed bool, err error)
	switch req.key {
	case kmsg.Fetch:
		if !p.breaksFetches() {
			return frame, nil
		}
		change = func(r kmsg.Response) (bool, error) { return p.fetched(r.(*kmsg.FetchResponse)) }
	case kmsg.Metadata:
		change = func(r kmsg.Response) (bool, error) { return p.metadata(r.(*kmsg.MetadataResponse)), nil }
	case kmsg.FindCoordinator:
		change = func(r kmsg.Response) (bool, error) { return p.coordinator(r.(*kmsg.FindCoordinatorResponse)), nil }
	case kmsg.DescribeCluster:
		change = func(r kmsg.Response) (bool, error) { return p.cluster(r.(*kmsg.DescribeClusterResponse)), nil }
	default:
		return frame, nil
	}
	resp := req.key.Response()
	resp.SetVersion(req.version)
	if len(frame) < headSize(resp) {
		return nil, fmt.Errorf("%w: an answer of %d bytes", errFrame, len(frame))
	}
	if err := resp.ReadFrom(frame[headSize(resp):]); err != nil {
		return nil, fmt.Errorf("%w: answer to %s: %w", errFrame, req.key.Name(), err)
	}
	changed, err := change(resp)
	if err != nil || !changed {
		return frame, err
	}
	return encode(req.correlation, resp), nil
}

// metadata makes the brokers those behind the proxy, and learns the names of topics.
func (p *Proxy) metadata(resp *kmsg.MetadataResponse) bool {
	for i := range resp.Brokers {
		resp.Brokers[i].Host, resp.Brokers[i].Port = p.host, p.port
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range resp.Topics {
		if t.Topic != nil && t.TopicID != [16]byte{} {
			p.topics[t.TopicID] = *t.Topic
		}
	}
	return true
}

func (p *Proxy) coordinator(resp *kmsg.FindCoordinatorResponse) bool {
	if resp.Host != "" {
		resp.Host, resp.Port = p.host, p.port
	}
	for i := range resp.Coordinators {
		if resp.Coordinators[i].Host != "" {
			resp.Coordinators[i].Host, resp.Coordinators[i].Port = p.host, p.port
		}
	}
	return true
}

func (p *Proxy) cluster(resp *kmsg.DescribeClusterResponse) bool {
	for i := range resp.Brokers {
		resp.Brokers[i].Host, resp.Brokers[i].Port = p.host, p.port
	}
	return true
}

// topic is the name of a topic that is given by name or by id.
func (p *Proxy) topic(name string, id [16]byte) string {
	if name != "" {
		return name
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.topics[id]
}
