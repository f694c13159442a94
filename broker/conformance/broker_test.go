package conformance_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	ours "github.com/keyframelog/keyframe/broker"

	"github.com/keyframelog/keyframe/broker/raw"
)

// addressEnv names a broker to test; without it one of ours is started, in a temporary directory.
const addressEnv = "KEYFRAME_TEST_KAFKA_ADDR"

// broker is what the tests talk to: one for all of them, as somebody else's is. Tests share it, so they use names of their own
// (raw.TopicName) and leave the settings of the cluster as they found them.
type broker struct {
	raw.Broker
	coordinator sync.Once
}

var shared broker

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	shared.Addr = os.Getenv(addressEnv)
	if shared.Addr == "" {
		stop, err := startOurs()
		if err != nil {
			fmt.Fprintln(os.Stderr, "no broker to test:", err)
			return 1
		}
		defer func() {
			if err := stop(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}()
	}
	name, err := identify(shared.Addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "no broker to test:", err)
		return 1
	}
	fmt.Println("broker:", name)
	return m.Run()
}

// startOurs starts a broker and returns what ends it, and complains about what it leaves behind.
func startOurs() (stop func() error, err error) {
	dir, err := os.MkdirTemp("", "keyframe-conformance-")
	if err != nil {
		return nil, err
	}
	cfg := ours.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = dir+"/data", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Groups.InitialRebalanceDelay = 0
	cfg.DrainTimeout = time.Second
	b, err := ours.Start(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	shared.Addr = b.KafkaAddr().String()
	return func() error {
		if err := b.Close(); err != nil {
			return err
		}
		if err := goleak.Find(); err != nil {
			return err
		}
		return os.RemoveAll(dir)
	}, nil
}

// start gives a test its broker.
func start(testing.TB) *broker { return &shared }

// startGroups gives a test a broker whose group coordinator is there: a Kafka that is new has to create its offsets topic.
func startGroups(t testing.TB) *broker {
	t.Helper()
	b := start(t)
	b.coordinator.Do(func() { b.waitForCoordinator(t) })
	return b
}

func (b *broker) waitForCoordinator(t testing.TB) {
	t.Helper()
	c := b.Dial(t)
	require.Eventually(t, func() bool {
		for i := range 16 { // a group for each partition of that topic, most likely
			name := fmt.Sprintf("probe-%d", i)
			f := raw.Do[*kmsg.FindCoordinatorResponse](c, &kmsg.FindCoordinatorRequest{Version: 4, CoordinatorKeys: []string{name}})
			h := raw.Do[*kmsg.HeartbeatResponse](c, &kmsg.HeartbeatRequest{Version: 4, Group: name, MemberID: "probe"})
			if f.Coordinators[0].ErrorCode != 0 || h.ErrorCode != 25 {
				return false
			}
		}
		return true
	}, 60*time.Second, 10*time.Millisecond)
}
