package kafka

import (
	"context"
	"maps"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// handlerFunc answers one decoded request; see wire.Handler for the goroutine it runs in and wire.Response for answers
// that have to wait.
type handlerFunc func(h *Handler, ctx context.Context, r *wire.Request, req kmsg.Request) wire.Response

// handle adapts a handler method of one request type to the dispatch table.
func handle[R kmsg.Request](f func(*Handler, context.Context, *wire.Request, R) wire.Response) handlerFunc {
	return func(h *Handler, ctx context.Context, r *wire.Request, req kmsg.Request) wire.Response {
		return f(h, ctx, r, req.(R))
	}
}

// Keys of APIs that others ask for.
const (
	keyApiVersions            = 18
	keyAddPartitionsToTxn     = 24
	keyConsumerGroupHeartbeat = 68
)

// handlers is the dispatch table: API key to handler.
func handlers() map[int16]handlerFunc {
	table := map[int16]handlerFunc{
		0:              handle((*Handler).produce),
		1:              handle((*Handler).fetch),
		2:              handle((*Handler).listOffsets),
		3:              handle((*Handler).metadata),
		keyApiVersions: handle((*Handler).apiVersions),
		19:             handle((*Handler).createTopics),
		20:             handle((*Handler).deleteTopics),
		21:             handle((*Handler).deleteRecords),
		22:             handle((*Handler).initProducerID),
		23:             handle((*Handler).offsetForLeaderEpoch),
		29:             handle((*Handler).describeACLs),
		30:             handle((*Handler).createACLs),
		31:             handle((*Handler).deleteACLs),
		32:             handle((*Handler).describeConfigs),
		33:             handle((*Handler).alterConfigs),
		35:             handle((*Handler).describeLogDirs),
		37:             handle((*Handler).createPartitions),
		43:             handle((*Handler).electLeaders),
		44:             handle((*Handler).incrementalAlterConfigs),
		45:             handle((*Handler).alterPartitionReassignments),
		46:             handle((*Handler).listPartitionReassignments),
		48:             handle((*Handler).describeClientQuotas),
		49:             handle((*Handler).alterClientQuotas),
		57:             handle((*Handler).updateFeatures),
		60:             handle((*Handler).describeCluster),
		61:             handle((*Handler).describeProducers),
		74:             handle((*Handler).listConfigResources),
		75:             handle((*Handler).describeTopicPartitions),
	}
	maps.Copy(table, groupHandlers())
	maps.Copy(table, transactionHandlers())
	return table
}
