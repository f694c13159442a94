// Package state is the API of the state plane: messages generated from keyframe/state/v1/state.proto; the Connect client
// and handler are in stateconnect.
//
//	client := stateconnect.NewStateServiceClient(http.DefaultClient, "http://127.0.0.1:9094")
//	answer, err := client.Get(ctx, connect.NewRequest(&state.GetRequest{Topic: "files", Key: []byte("README.md")}))
//
// or, without any code:
//
//	curl -H 'Content-Type: application/json' -d '{"topic": "files", "key": "UkVBRE1FLm1k"}' \
//	    http://127.0.0.1:9094/keyframe.state.v1.StateService/Get
//
// Every error carries an ErrorDetail beside Connect's code:
//
//	not_found            unknown topic, partition, cut or frame; topic deleted meanwhile
//	failed_precondition  topic not key-framed, other incarnation, lease that ended, disputed partition
//	out_of_range         point below the delta start offset or the tombstone horizon, or above the last stable offset
//	invalid_argument     point not given for every partition that is read, malformed request
//	unavailable          the keyframer is behind: worth a retry; or the partition cannot be folded
//	resource_exhausted   too many scans, watches, repairs, leases or replicas at once: worth a retry; or too far above a frame
//	data_loss            the broker's own rows are damaged
//
// Generated code is committed; `make generate` reproduces it with Go alone (the generator is the nested module gen, so
// that its dependencies are not Keyframe's).
package state
