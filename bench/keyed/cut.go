package keyed

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// BehindCut is how many updates come after a key frame that the log is to be trimmed to: a log keeps its last batch and is trimmed to no frame above
// that, which is looked at when the next one is cut. They are enough for every partition to get some.
const BehindCut = 1000

// Cut has a key frame cut at the end of every partition. Errors: what the state plane answers.
func Cut(ctx context.Context, t *target.Target, topic string) error {
	plane := stateconnect.NewStateServiceClient(http.DefaultClient, t.StateURL)
	_, err := plane.Cut(ctx, connect.NewRequest(&state.CutRequest{Topic: topic}))
	return err
}
