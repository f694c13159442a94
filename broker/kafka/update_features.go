package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// The ways to change a feature, from v1 on.
const (
	featureUpgrade         = 1
	featureSafeDowngrade   = 2
	featureUnsafeDowngrade = 3
)

// updateFeatures accepts the levels that features have. A release of ours has one level of each, so there is nothing that they could
// be changed to. One update that cannot be fails all, as in Kafka.
func (h *Handler) updateFeatures(_ context.Context, _ *wire.Request, req *kmsg.UpdateFeaturesRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	for _, u := range req.FeatureUpdates {
		if why := h.checkFeature(&u, req.Version); why != "" {
			resp.Results = nil
			resp.ErrorCode, resp.ErrorMessage = featureUpdateFailed, ptr("The update failed for all features since the following feature had an error: "+why)
			break
		}
		if req.Version < 2 {
			resp.Results = append(resp.Results, kmsg.UpdateFeaturesResponseResult{Feature: u.Feature, ErrorMessage: ptr("NONE")})
		}
	}
	return wire.Reply(resp)
}

func (h *Handler) checkFeature(u *kmsg.UpdateFeaturesRequestFeatureUpdate, version int16) (why string) {
	refuse := func(format string, args ...any) string {
		return fmt.Sprintf("Invalid update version %d for feature %s. ", u.MaxVersionLevel, u.Feature) + fmt.Sprintf(format, args...)
	}
	way := int(u.UpgradeType)
	if version == 0 {
		if way = featureUpgrade; u.AllowDowngrade {
			way = featureSafeDowngrade
		}
	}
	if way < featureUpgrade || way > featureUnsafeDowngrade {
		return refuse("The controller does not support the given upgrade type.")
	}
	if u.MaxVersionLevel < 0 {
		return refuse("A feature version cannot be less than 0.")
	}
	for _, f := range h.features() {
		switch {
		case f.name != u.Feature:
		case u.MaxVersionLevel == f.level:
			return ""
		case u.MaxVersionLevel > f.max || u.MaxVersionLevel < f.min:
			return refuse("Local controller %d only supports versions %d-%d", NodeID, f.min, f.max)
		case way == featureUpgrade:
			return refuse("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
		default:
			return refuse("This broker runs with version %d of it only.", f.level)
		}
	}
	return refuse("Local controller %d does not support this feature.", NodeID)
}
