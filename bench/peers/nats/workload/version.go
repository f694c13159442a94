package workload

import (
	"runtime/debug"

	"github.com/nats-io/nats.go"
)

// clientVersion is that of the client, as this binary was built with it.
func clientVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/nats-io/nats.go" {
				return "nats.go " + d.Version
			}
		}
	}
	return "nats.go v" + nats.Version
}
