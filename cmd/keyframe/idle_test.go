package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// TestIdleConnectionsAreSmall opens many connections to the real binary, uses each as a client does at its start, and looks at what
// the process takes for them: 30 KiB each at most. KEYFRAME_IDLE_CONNECTIONS says how many; both ends need as many open files.
func TestIdleConnectionsAreSmall(t *testing.T) {
	n := 1000
	if v, err := strconv.Atoi(os.Getenv("KEYFRAME_IDLE_CONNECTIONS")); err == nil {
		n = v
	}
	binary := filepath.Join(t.TempDir(), "keyframe")
	build(t, binary)
	p := startProcess(t, binary, filepath.Join(t.TempDir(), "data"), "--max-connections", strconv.Itoa(n+100))
	defer p.Kill()
	use := func(count int) {
		for range count {
			c := raw.Broker{Addr: p.Kafka}.Dial(t)
			versions := kmsg.NewPtrApiVersionsRequest()
			versions.Version, versions.ClientSoftwareName, versions.ClientSoftwareVersion = 3, "idle", "1"
			raw.Do[*kmsg.ApiVersionsResponse](c, versions)
			metadata := kmsg.NewPtrMetadataRequest()
			metadata.Version = 12
			raw.Do[*kmsg.MetadataResponse](c, metadata)
		}
	}
	use(50) // what the first connections allocate for all
	before := p.RSS()
	if before == 0 {
		t.Skip("SKIPPED: the system does not say how much memory is resident")
	}
	use(n)
	each := (p.RSS() - before) / int64(n)
	t.Logf("%d idle connections: %d bytes of resident memory each", n, each)
	require.LessOrEqual(t, each, int64(30<<10))
}
