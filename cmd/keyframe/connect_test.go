package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker"
)

// A broker that tells clients a wrong address is there for the first request alone: every tool says so at once.
func TestToolsNameAWrongAdvertisedAddress(t *testing.T) {
	n := startNodeWith(t, func(cfg *broker.Config) { cfg.AdvertisedAddr = "127.0.0.1:1" }) // nobody listens there
	for _, args := range [][]string{{"topic", "list"}, {"topic", "create", "t"}, {"produce", "t"}, {"consume", "t", "--exit"}, {"replica", "run", "t", "--exit"}} {
		_, err := n.try(t, "k\tv\n", args...)
		require.ErrorContains(t, err, "the broker at "+n.kafka+" tells clients to connect to 127.0.0.1:1, and there nothing answers")
		require.Contains(t, explain(err), "--advertised-addr")
	}
}
