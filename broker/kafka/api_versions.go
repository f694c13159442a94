package kafka

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/proto/guard"
)

// apiVersions says what is offered, and notes the client's software (KIP-511).
func (h *Handler) apiVersions(_ context.Context, r *wire.Request, req *kmsg.ApiVersionsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	if req.Version >= 3 {
		if !validSoftware(req.ClientSoftwareName) || !validSoftware(req.ClientSoftwareVersion) {
			resp.ErrorCode = invalidRequest
			return wire.Reply(resp)
		}
		r.Conn.SetClient(req.ClientSoftwareName, req.ClientSoftwareVersion)
	}
	for _, key := range slices.Sorted(maps.Keys(h.handlers)) {
		if k, ok := offered(key); ok {
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
	}
	h.tellFeatures(resp)
	return wire.Reply(resp)
}

// apiVersionsUnsupported answers a version of ApiVersions that is not known: in v0, which every client can read, with the
// versions of ApiVersions itself.
func (h *Handler) apiVersionsUnsupported() wire.Response {
	resp := &kmsg.ApiVersionsResponse{Version: 0, ErrorCode: unsupportedVersion}
	if k, ok := offered(keyApiVersions); ok {
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return wire.Reply(resp)
}

// offered is the range of versions that ApiVersions shows for an API.
func offered(key int16) (kmsg.ApiVersionsResponseApiKey, bool) {
	low, high, ok := guard.Supported(key)
	if key == 0 {
		low = 0 // librdkafka turns compression off when Produce v0 is not offered, although it uses v7 (KAFKA-18659)
	}
	return kmsg.ApiVersionsResponseApiKey{ApiKey: key, MinVersion: low, MaxVersion: high}, ok
}

// validSoftware is Kafka's pattern [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?
func validSoftware(s string) bool {
	alphanumeric := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	if s == "" || !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if !alphanumeric(s[i]) && s[i] != '-' && s[i] != '.' {
			return false
		}
	}
	return true
}
