package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// Features that any 4.x broker tells (KIP-584). Clients before v4 are not told of ranges that begin at 0.
func TestApiVersionsFeatures(t *testing.T) {
	c := start(t).Dial(t)
	for version := range int16(5) {
		resp := raw.Do[*kmsg.ApiVersionsResponse](c, apiVersionsRequest(version))
		supported, finalized := map[string][2]int16{}, map[string]int16{}
		for _, f := range resp.SupportedFeatures {
			supported[f.Name] = [2]int16{f.MinVersion, f.MaxVersion}
		}
		for _, f := range resp.FinalizedFeatures {
			finalized[f.Name] = f.MaxVersionLevel
			require.Equal(t, f.MaxVersionLevel, f.MinVersionLevel)
		}
		if version < 3 {
			require.Empty(t, supported)
			require.Empty(t, finalized)
			continue
		}
		require.GreaterOrEqual(t, resp.FinalizedFeaturesEpoch, int64(0))
		require.Equal(t, [2]int16{7, 30}, supported["metadata.version"])
		require.Equal(t, int16(30), finalized["metadata.version"])
		for name, level := range map[string]int16{"group.version": 1, "transaction.version": 2} {
			require.Equal(t, level, finalized[name], name)
			if version >= 4 {
				require.Equal(t, [2]int16{0, level}, supported[name])
			} else {
				require.NotContains(t, supported, name)
			}
		}
	}
}

func TestUpdateFeatures(t *testing.T) {
	c := start(t).Dial(t)
	update := func(version int16, updates ...kmsg.UpdateFeaturesRequestFeatureUpdate) *kmsg.UpdateFeaturesResponse {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.Version, req.ValidateOnly, req.TimeoutMillis, req.FeatureUpdates = version, true, 10_000, updates
		return raw.Do[*kmsg.UpdateFeaturesResponse](c, req)
	}
	to := func(name string, level int16, way int8) kmsg.UpdateFeaturesRequestFeatureUpdate {
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature, u.MaxVersionLevel, u.UpgradeType = name, level, way
		return u
	}
	same := to("metadata.version", 30, 1)
	for version := range int16(3) {
		require.Zero(t, update(version).ErrorCode)
		resp := update(version, same)
		raw.RequireCode(t, 0, resp.ErrorCode, resp.ErrorMessage)
		if version < 2 {
			require.Len(t, resp.Results, 1)
			require.Equal(t, "metadata.version", resp.Results[0].Feature)
			require.Zero(t, resp.Results[0].ErrorCode)
		} else {
			require.Empty(t, resp.Results)
		}
		for name, u := range map[string]kmsg.UpdateFeaturesRequestFeatureUpdate{
			"unknown":                  to("no.such.version", 1, 1),
			"empty":                    to("", 1, 1),
			"not supported":            to("metadata.version", 31, 1),
			"negative":                 to("metadata.version", -1, 1),
			"a downgrade unasked for":  to("metadata.version", 29, 1),
			"a downgrade that forgets": to("metadata.version", 29, 2),
			"no way to change it":      to("metadata.version", 30, 0),
			"another way to change it": to("metadata.version", 30, 9),
		} {
			if version == 0 && (u.UpgradeType == 0 || u.UpgradeType == 9) {
				continue // v0 has a flag only
			}
			resp := update(version, same, u)
			require.Equal(t, int16(95), resp.ErrorCode, "v%d: %s", version, name)
			require.NotEmpty(t, *resp.ErrorMessage)
			require.Empty(t, resp.Results, "one fails all")
		}
	}
}
