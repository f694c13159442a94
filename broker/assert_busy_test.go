package broker

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/fold"
)

// onceBusy is a transport by which each resource is unavailable when it is first asked for.
type onceBusy struct {
	http.RoundTripper
	mu    sync.Mutex
	asked map[string]bool // guarded by mu
}

func (b *onceBusy) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	again := b.asked[req.URL.Path]
	b.asked[req.URL.Path] = true
	b.mu.Unlock()
	if again {
		return b.RoundTripper.RoundTrip(req)
	}
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// A producer that keeps its state asks a broker again that is busy when it begins, and after it has published.
func TestKeepStateBesideABusyBroker(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	first := b.saying(t, "said")
	defer first.Close()
	first.say(first.put("a", "1"), first.put("b", "1"))

	ctx, cancel := context.WithTimeout(t.Context(), assertGuard)
	defer cancel()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	busy := &onceBusy{RoundTripper: transport, asked: map[string]bool{}}
	p, err := client.NewProducer(ctx, client.ProducerConfig{
		Brokers: []string{b.KafkaAddr().String()}, StateURL: "http://" + b.StateAddr().String(), Topic: "said", KeepState: true,
		HTTPClient: &http.Client{Transport: busy},
	})
	require.NoError(t, err)
	defer p.Close()
	s := &saying{p, t, b}
	require.Equal(t, map[string]string{"a": "1", "b": "1"}, s.state())

	busy.mu.Lock()
	require.Greater(t, len(busy.asked), 2)
	clear(busy.asked)
	busy.mu.Unlock()
	first.say(first.put("a", "2"))
	done, err := s.PublishState(ctx, s.State(), client.PublishOptions{})
	require.NoError(t, err)
	require.Equal(t, client.Equal, done.Verdict, done.Reason)
}
