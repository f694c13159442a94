package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/proto/state"
)

func newReplicaListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [TOPIC]",
		Short: "List the replicas that report to the broker: position, lag, verdict and last repair",
		Long: `Prints what replicas report, one line for each replica and partition: where it is, how many offsets it lacks up to the last stable one
(as a consumer's lag: aborted records and the markers of transactions count) and for how long the first of them has been there, the newest key
frame at which it was equal to the log, how its latest comparison ended, and what its last repair took. Replicas report as often as the broker
asks; one that is silent is forgotten after a few minutes, and so is one that has halted, once its process has ended.

A name is one process's at a time. Where several report under one, as copies of a directory do, each has its lines, with "shared name" beside its
verdict, and below it says which they are.

Where replicas agree with one another and not with the broker, it says so: nothing is repaired there until "keyframe replica settle", also
after a restart of the broker.`,
		Example: `  keyframe replica list
  keyframe replica list users --format json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return arguments("TOPIC")(cmd, args)
		},
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			req := &state.ReplicasRequest{}
			if len(args) > 0 {
				req.Topic = args[0]
			}
			answer, err := stateClient(c).Replicas(cmd.Context(), connect.NewRequest(req))
			if err != nil {
				return stateError(c, err)
			}
			return printReplicas(cmd, c, answer.Msg, time.Now())
		},
	}
	addSettings(cmd, "state-url", "format")
	return cmd
}

// printReplicas prints a table for people, or one object for each replica and partition.
func printReplicas(cmd *cobra.Command, c *config, m *state.ReplicasResponse, now time.Time) error {
	columns, row := []string{"topic", "replica", "host", "instance", "processes", "partition", "phase", "position", "lag_records", "lag_ms", "verified", "verified_time", "verdict",
		"compared", "compared_time", "reason", "repairs", "repair_cut", "repair_method", "repair_keys", "repair_bytes", "repair_us", "repair_time",
		"reported"}, replicaObject
	if c.str("format") == "table" {
		columns = []string{"topic", "replica", "host", "partition", "position", "lag", "verified", "verdict", "last repair", "reported"}
		row = func(r *state.Replica, x *state.ReplicaPartition) []any { return replicaRow(r, x, now) }
	}
	out, err := newOutput(cmd, c, columns...)
	if err != nil {
		return err
	}
	for _, r := range m.Replicas {
		for _, x := range r.Partitions {
			if err := out.row(row(r, x)...); err != nil {
				return err
			}
		}
	}
	if err := out.close(); err != nil {
		return err
	}
	printShared(cmd.ErrOrStderr(), m.Replicas)
	printDisputes(cmd.ErrOrStderr(), m.Disputes)
	return nil
}

// printShared says which names several processes have, and what to do. The replicas of a name follow one another.
func printShared(to io.Writer, replicas []*state.Replica) {
	for len(replicas) > 0 {
		r, hosts := replicas[0], []string(nil)
		for len(replicas) > 0 && replicas[0].Topic == r.Topic && replicas[0].Replica == r.Replica {
			hosts = append(hosts, replicas[0].Host)
			replicas = replicas[1:]
		}
		if r.Processes > 1 {
			fmt.Fprintf(to, "%d processes are replica %s of %s: %s. They run on copies of one directory, or were given one name.\n"+
				"  What they find counts once. Give each a name of its own (keyframe replica run --name), and a directory that it loaded itself.\n",
				r.Processes, printable(r.Replica), printable(r.Topic), printable(strings.Join(hosts, ", ")))
		}
	}
}

// printDisputes says what an operator has to know, and to do.
func printDisputes(to io.Writer, disputes []*state.Dispute) {
	for _, d := range disputes {
		fmt.Fprintf(to, "partition %d of %s is disputed: %s agree with one another at %d and not with the broker, so nothing is repaired from it.\n",
			d.Partition, printable(d.Topic), printable(strings.Join(d.Replicas, ", ")), d.Point.GetOffset())
		fmt.Fprintf(to, "  Stop the broker and run keyframe check, which folds the log again. If it finds no problem, the replicas are wrong: start the broker,\n"+
			"  which goes on with the dispute, and decide for the log: keyframe replica settle %s %d\n", printable(d.Topic), d.Partition)
	}
}

// replicaRow is a line for a person.
func replicaRow(r *state.Replica, x *state.ReplicaPartition, now time.Time) []any {
	ago := func(ms int64) string {
		return max(now.Sub(time.UnixMilli(ms)), 0).Round(time.Second).String() + " ago"
	}
	verified, verdict, repair := "never", outcomeName(x.Outcome), "none"
	switch {
	case x.VerifiedMs != 0:
		verified = fmt.Sprintf("%d, %s", x.Verified, ago(x.VerifiedMs))
	case x.Verified != 0:
		verified = fmt.Sprintf("%d, time unknown", x.Verified)
	}
	if x.Outcome != state.Outcome_OUTCOME_UNSPECIFIED && x.Outcome != state.Outcome_OUTCOME_EQUAL {
		verdict = fmt.Sprintf("%s at %d", verdict, x.Compared.GetOffset())
	}
	if x.Phase != state.PhaseFollowing {
		verdict += ", " + x.Phase
	}
	if r.Processes > 1 {
		verdict += ", shared name"
	}
	if p := x.Repair; p != nil {
		repair = fmt.Sprintf("%s, %s, %s", counted(p.Keys, "key"), counted(p.Bytes, "byte"), ago(p.TimeMs))
	}
	return []any{r.Topic, r.Replica, r.Host, x.Partition, x.Position, lagText(x.LagRecords, x.LagMs), verified, verdict, repair, ago(r.ReportedMs)}
}

func lagText(records, ms int64) string {
	switch {
	case records == 0:
		return "0"
	case ms < 0:
		return fmt.Sprintf("%d, time unknown", records)
	case ms < 1000:
		return fmt.Sprintf("%d, %s", records, time.Duration(ms)*time.Millisecond)
	}
	return fmt.Sprintf("%d, %s", records, (time.Duration(ms) * time.Millisecond).Round(100*time.Millisecond))
}

// replicaObject is the same for programs.
func replicaObject(r *state.Replica, x *state.ReplicaPartition) []any {
	row := []any{r.Topic, r.Replica, r.Host, orAbsent(hex.EncodeToString(r.Instance)), max(r.Processes, 1), x.Partition, x.Phase, x.Position, x.LagRecords, x.LagMs}
	switch {
	case x.VerifiedMs != 0:
		row = append(row, x.Verified, timestamp(x.VerifiedMs))
	case x.Verified != 0:
		row = append(row, x.Verified, absent{})
	default:
		row = append(row, absent{}, absent{})
	}
	row = append(row, outcomeName(x.Outcome))
	if x.Outcome != state.Outcome_OUTCOME_UNSPECIFIED {
		row = append(row, x.Compared.GetOffset(), timestamp(x.ComparedMs))
	} else {
		row = append(row, absent{}, absent{})
	}
	row = append(row, orAbsent(x.Reason), x.Repairs)
	if p := x.Repair; p != nil {
		row = append(row, p.Cut, p.Method, p.Keys, p.Bytes, p.DurationUs, timestamp(p.TimeMs))
	} else {
		row = append(row, absent{}, absent{}, absent{}, absent{}, absent{}, absent{})
	}
	return append(row, timestamp(r.ReportedMs))
}

func orAbsent(s string) any {
	if s == "" {
		return absent{}
	}
	return s
}

func outcomeName(o state.Outcome) string {
	if o == state.Outcome_OUTCOME_UNSPECIFIED {
		return "none"
	}
	return strings.ToLower(strings.TrimPrefix(o.String(), "OUTCOME_"))
}
