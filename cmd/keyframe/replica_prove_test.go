package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
)

// scripted is a replica that says what it is to say: of each scrub, and of each comparison, the last again and again. An event comes with every verdict of a
// partition that differs.
type scripted struct {
	log               *replicaLog
	scrubs, verdicts  [][]client.Verdict
	scrubbed, compare int
	comes             map[int32]client.EventKind
}

func (s *scripted) WaitFor(context.Context, int32, int64) error { return nil }
func (s *scripted) Positions() client.Positions {
	return client.Positions{0: {Offset: 9}, 1: {Offset: 9}}
}
func (s *scripted) Err() error { return nil }

func (s *scripted) Scrub(context.Context) []client.Verdict {
	s.scrubbed++
	return s.say(s.scrubs, s.scrubbed)
}

func (s *scripted) Verify(context.Context) []client.Verdict {
	s.compare++
	return s.say(s.verdicts, s.compare)
}

func (s *scripted) say(all [][]client.Verdict, turn int) []client.Verdict {
	said := all[min(turn, len(all))-1]
	for _, v := range said {
		s.log.verdict(v)
		if v.Outcome == client.Drifted {
			s.log.event(client.Event{Kind: s.comes[v.Partition], Partition: v.Partition, Offset: v.At})
		}
	}
	return said
}

// A partition whose rows cannot be hashed, or stay rotten, keeps no other from being put right, and is no part of a copy that is equal: however it compares by the
// digest that is kept beside its rows. What could not be done is said before what differs.
func TestAPartitionThatStaysRottenHoldsUpNoOther(t *testing.T) {
	disk := errors.New("input/output error")
	says := func(scrub bool, outcomes ...client.Outcome) (out []client.Verdict) {
		for p, o := range outcomes {
			v := client.Verdict{Partition: int32(p), At: 9, Outcome: o, Scrub: scrub}
			if o == client.Error {
				v.Reason, v.Err = "the rows cannot be read", disk
			}
			out = append(out, v)
		}
		return out
	}
	const equal, drifted, unknown = client.Equal, client.Drifted, client.Error
	for name, c := range map[string]struct {
		scrubs   [][]client.Verdict
		verdicts [][]client.Verdict
		comes    client.EventKind // of partition 0
		compared int
		err      string
	}{
		"nothing": {
			scrubs: [][]client.Verdict{says(true, equal, equal)}, verdicts: [][]client.Verdict{says(false, equal, equal)}, compared: 1,
		},
		"rot that is put right": {
			scrubs:   [][]client.Verdict{says(true, drifted, equal), says(true, equal, equal)},
			verdicts: [][]client.Verdict{says(false, equal, drifted), says(false, equal, equal)}, comes: client.Repaired, compared: 2,
		},
		"rows that cannot be hashed": {
			scrubs:   [][]client.Verdict{says(true, unknown, equal)},
			verdicts: [][]client.Verdict{says(false, equal, drifted), says(false, equal, equal)}, compared: 2,
			err: "partition 0 at 9: the rows cannot be read: input/output error",
		},
		"rows that cannot be hashed, and do not compare either": {
			scrubs:   [][]client.Verdict{says(true, unknown, equal)},
			verdicts: [][]client.Verdict{says(false, unknown, drifted), says(false, unknown, equal)}, compared: 2,
			err: "partition 0 at 9: the rows cannot be read: input/output error",
		},
		"rot that stays": {
			scrubs:   [][]client.Verdict{says(true, drifted, equal)},
			verdicts: [][]client.Verdict{says(false, unknown, drifted), says(false, unknown, equal)}, comes: client.RepairRefused, compared: 2,
			err: "1 partition(s) are not proved equal to the log",
		},
		"rot that stays, and the digest that is kept is the log's": {
			scrubs:   [][]client.Verdict{says(true, drifted, equal)},
			verdicts: [][]client.Verdict{says(false, equal, drifted), says(false, equal, equal)}, comes: client.RepairRefused, compared: 3,
			err: "1 partition(s) are not proved equal to the log",
		},
		"rot that is overwritten meanwhile": {
			scrubs:   [][]client.Verdict{says(true, drifted, equal), says(true, equal, equal)},
			verdicts: [][]client.Verdict{says(false, equal, drifted), says(false, equal, equal)}, comes: client.RepairRefused, compared: 3,
		},
		"rot that stays beside rows that cannot be hashed": {
			scrubs: [][]client.Verdict{says(true, drifted, unknown)}, verdicts: [][]client.Verdict{says(false, equal, equal)}, comes: client.RepairRefused, compared: 1,
			err: "partition 1 at 9: the rows cannot be read: input/output error",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{
				log: newReplicaLog(replicaLines{io.Discard}, true), scrubs: c.scrubs, verdicts: c.verdicts,
				comes: map[int32]client.EventKind{0: c.comes, 1: client.Repaired},
			}
			err := proveNow(t.Context(), s, map[int32]int64{0: 9, 1: 9}, s.log)
			require.Equal(t, c.compared, s.compare)
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.err)
			require.Equal(t, strings.Contains(c.err, errNotEqual.Error()), errors.Is(err, errNotEqual))
		})
	}
}
