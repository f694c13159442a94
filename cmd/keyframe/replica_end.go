package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client"
)

var errNotEqual = errors.New("are not proved equal to the log")

// ending is a replica that has been followed to the end that was seen of its topic, and is proved equal to it.
type ending interface {
	WaitFor(ctx context.Context, partition int32, offset int64) error
	Scrub(ctx context.Context) []client.Verdict
	Verify(ctx context.Context) []client.Verdict
	Positions() client.Positions
	Err() error
}

// waitForEnds waits until every partition has reached the end that was seen of it.
func waitForEnds(ctx context.Context, replica ending, ends map[int32]int64) error {
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

// proveNow proves that the stored rows are what was applied, and that this is what the log has. What is wrong with one partition keeps nothing that is wrong with
// another from being put right, or named. That rows cannot be hashed is the error, whatever else there is.
func proveNow(ctx context.Context, replica ending, ends map[int32]int64, log *replicaLog) error {
	for last := false; ; last = true {
		stay, trouble := scrubNow(ctx, replica, log)
		if err := ctx.Err(); err != nil {
			return cmp.Or(trouble, err)
		}
		err := verifyNow(ctx, replica, ends, log)
		switch differ := errors.Is(err, errNotEqual); {
		case trouble != nil && (err == nil || differ):
			return trouble
		case err != nil:
			return errors.Join(trouble, err)
		case stay == 0:
			return nil
		case last:
			return fmt.Errorf("%d partition(s) %w", stay, errNotEqual)
		} // else the rows may have been overwritten, or put right after all: what they hash to now tells, not the digests that were compared
	}
}

// scrubNow hashes the stored rows anew, until they are what was applied: where they are not, it waits until something has come of it in each of the partitions. A
// way of fetching them that failed is followed by another one. stay is in how many partitions such rows stay as they are; trouble says which could not be hashed.
func scrubNow(ctx context.Context, replica ending, log *replicaLog) (stay int, trouble error) {
	for {
		log.expectAnswers(true)
		var rotten []int32
		trouble = nil
		for _, v := range replica.Scrub(ctx) {
			switch v.Outcome {
			case client.Equal:
			case client.Error:
				trouble = errors.Join(trouble, fmt.Errorf("partition %d at %d: %s: %w", v.Partition, v.At, v.Reason, v.Err))
			default:
				rotten = append(rotten, v.Partition)
			}
		}
		if stay = log.stay(ctx, rotten); len(rotten) == 0 || stay > 0 {
			return stay, trouble
		}
	}
}

// verifyNow compares every partition at or behind the end that was seen of it, which prints the verdicts as those at frames; only equal passes. What
// differs is put right first, where the policy is to do so; else the keys have been named, of all partitions, when it returns: a partition that cannot be compared
// keeps none of the others from that. What takes the place of a copy may lie below the end, which is waited for again.
func verifyNow(ctx context.Context, replica ending, ends map[int32]int64, log *replicaLog) error {
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
		if len(drifted) > 0 && log.stay(ctx, drifted) == 0 {
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
