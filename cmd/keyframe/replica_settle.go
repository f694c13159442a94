package main

import (
	"fmt"
	"strconv"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/proto/state"
)

func newReplicaSettleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "settle TOPIC PARTITION",
		Short: "Decide for the log where replicas agree with one another and not with the broker",
		Long: `Ends a dispute: replicas are repaired from the partition again; those that run and were refused a repair ask for it at once. Run "keyframe check"
first: where the log, folded again, is what the broker's key frames say, the replicas are wrong. Where it is not, what they have may be right, and
settling would lose it.`,
		Args:              arguments("TOPIC", "PARTITION"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			partition, err := strconv.ParseInt(args[1], 10, 32)
			if err != nil {
				return fmt.Errorf("partition %q: a number is expected", args[1])
			}
			answer, err := stateClient(c).ClearDispute(cmd.Context(), connect.NewRequest(&state.ClearDisputeRequest{Topic: args[0], Partition: int32(partition)}))
			if err != nil {
				return stateError(c, err)
			}
			if !answer.Msg.Cleared {
				return fmt.Errorf("partition %d of topic %s is not disputed: keyframe replica list %s shows how its replicas are", partition, args[0], args[0])
			}
			fmt.Fprintf(cmd.OutOrStdout(), "partition %d of %s is repaired from again\n", partition, args[0])
			return nil
		},
	}
	addSettings(cmd, "state-url")
	return cmd
}
