package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client"
)

var errNotEqual = errors.New("are not proved equal to the log")

// waitForEnds waits until every partition has reached the end that was seen of it.
func waitForEnds(ctx context.Context, replica *client.Replica, ends map[int32]int64) error {
	for p, end := range ends {
		err := replica.WaitFor(ctx, p, end)
		if err != nil && ctx.Err() == nil {
			err = cmp.Or(replica.Err(), err) // of all that have ended by now
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scrubNow hashes the stored rows anew, until they are what was applied: where they are not, it waits until something has come of it. A way of
// fetching them that failed is followed by another one.
func scrubNow(ctx context.Context, replica *client.Replica, log *replicaLog) error {
	for {
		log.expectAnswers(true)
		var rotten []int32
		for _, v := range replica.Scrub(ctx) {
			switch v.Outcome {
			case client.Equal:
			case client.Error:
				return v.Err
			default:
				rotten = append(rotten, v.Partition)
			}
		}
		if len(rotten) == 0 {
			return nil
		}
		if !log.putRight(ctx, rotten) {
			return fmt.Errorf("%d partition(s) %w", len(rotten), errNotEqual)
		}
	}
}

// verifyNow compares every partition at or behind the end that was seen of it, which prints the verdicts as those at frames; only equal passes. What
// differs is put right first, where the policy is to do so; else the keys have been named, of all partitions, when it returns: a partition that cannot be compared
// keeps none of the others from that. What takes the place of a copy may lie below the end, which is waited for again.
func verifyNow(ctx context.Context, replica *client.Replica, ends map[int32]int64, log *replicaLog) error {
	for {
		if err := waitForEnds(ctx, replica, ends); err != nil {
			return err
		}
		log.expectAnswers(false)
		verdicts := replica.Verify(ctx)
		positions := replica.Positions()
		failed, again, drifted := 0, false, []int32(nil)
		for _, v := range verdicts {
			switch {
			case v.Outcome == client.Drifted:
				failed++
				drifted = append(drifted, v.Partition)
			case log.provedEqual(v, positions[v.Partition].Offset, ends[v.Partition]):
			case v.Outcome == client.Equal, v.Outcome == client.Inconclusive && positions[v.Partition].Offset != v.At:
				again = true // it stood below the end, or the log could not tell of where it stood then
			default:
				failed++
			}
		}
		if len(drifted) > 0 && log.putRight(ctx, drifted) {
			again = true
		}
		switch {
		case again && ctx.Err() == nil:
		case failed > 0:
			return cmp.Or(replica.Err(), fmt.Errorf("%d partition(s) %w", failed, errNotEqual))
		default:
			return ctx.Err()
		}
	}
}
