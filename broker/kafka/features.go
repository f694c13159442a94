package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// feature is a capability of the cluster with a version that Kafka's administrators raise (KIP-584). Here it is fixed: what is built in
// is on.
type feature struct {
	name     string
	min, max int16 // supported
	level    int16 // finalized
	api      int16 // that the feature is told with, once it is offered
}

// features are told as by Kafka 4.3. metadata.version tells tools which release's APIs they may expect.
var features = []feature{
	{name: "group.version", min: 0, max: 1, level: 1, api: keyConsumerGroupHeartbeat},
	{name: "metadata.version", min: 7, max: 30, level: 30, api: keyApiVersions},
	{name: "transaction.version", min: 0, max: 2, level: 2, api: keyAddPartitionsToTxn},
}

// features of the broker: those whose APIs it offers.
func (h *Handler) features() []feature {
	return slices.DeleteFunc(slices.Clone(features), func(f feature) bool {
		_, offered := h.handlers[f.api]
		return !offered
	})
}

// tellFeatures adds the features to an answer of ApiVersions. Clients before v4 take a range that starts at 0 for an error.
func (h *Handler) tellFeatures(resp *kmsg.ApiVersionsResponse) {
	resp.FinalizedFeaturesEpoch = int64(h.cfg.LeaderEpoch)
	for _, f := range h.features() {
		if f.min > 0 || resp.Version >= 4 {
			resp.SupportedFeatures = append(resp.SupportedFeatures, kmsg.ApiVersionsResponseSupportedFeature{
				Name: f.name, MinVersion: f.min, MaxVersion: f.max})
		}
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{
			Name: f.name, MinVersionLevel: f.level, MaxVersionLevel: f.level})
	}
}
