package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consumption is one run of consume: it prints what it polls, and knows where each partition is.
type consumption struct {
	client   *kgo.Client
	topic    string
	flags    consumeFlags
	printer  *recordPrinter
	parts    map[int32]span  // next is the position: after the last record or marker that came
	ends     map[int32]int64 // partitions that --exit still waits for
	warnings io.Writer
	commits  *commitWatch // nil without a group

	printed int
	warned  map[string]bool
}

// run prints until the context ends, the limit is reached or, with --exit, every end is passed. Silence is no end: a broker that is
// slow or cannot read its disk is silent too.
func (c *consumption) run(ctx context.Context) error {
	for {
		fetches, err := c.poll(ctx)
		if err != nil {
			return err
		}
		err = c.print(fetches)
		if err := errors.Join(err, c.printer.flush()); err != nil {
			return err
		}
		if err := c.reportErrors(ctx, fetches); err != nil {
			return err
		}
		if c.flags.limit > 0 && c.printed == c.flags.limit || c.flags.exit && len(c.ends) == 0 {
			return nil
		}
	}
}

func (c *consumption) poll(ctx context.Context) (kgo.Fetches, error) {
	pollCtx, cancel := ctx, context.CancelFunc(func() {})
	if c.flags.exit {
		pollCtx, cancel = context.WithTimeout(ctx, c.flags.timeout)
	}
	defer cancel()
	for {
		fetches := c.client.PollFetches(pollCtx)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case pollCtx.Err() != nil && fetches.NumRecords() == 0:
			return nil, c.stuck(ctx)
		case fetches.NumRecords() > 0 || !c.flags.exit:
			return fetches, nil
		}
		if err := c.reportErrors(ctx, fetches); err != nil { // an error is no progress: the time goes on
			return nil, err
		}
	}
}

// stuck says how far --exit came and why it did not come further, if the broker tells.
func (c *consumption) stuck(ctx context.Context) error {
	err := fmt.Errorf("topic %s: nothing came for %s, and the end is not reached: %s", c.topic, c.flags.timeout, behind(c.parts, c.ends))
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if pingErr := c.client.Ping(ctx); pingErr != nil {
		return fmt.Errorf("%w: the broker does not answer: %w", err, pingErr)
	}
	if c.flags.group != "" {
		return fmt.Errorf("%w: another member of group %s may have the partition", err, c.flags.group)
	}
	return fmt.Errorf("%w: the broker answers; its log may say why it sends nothing; --timeout waits longer", err)
}

// print writes the records and moves the positions, up to the limit. What has reached the reader is marked for the group.
func (c *consumption) print(fetches kgo.Fetches) error {
	last := map[int32]*kgo.Record{}
	for it := fetches.RecordIter(); !it.Done() && (c.flags.limit == 0 || c.printed < c.flags.limit); {
		r := it.Next()
		p := c.parts[r.Partition]
		if c.flags.exit && r.Offset >= p.end {
			continue // came after the start
		}
		if !r.Attrs.IsControl() {
			if err := c.printer.record(r); err != nil {
				return err
			}
			c.printed++
		}
		last[r.Partition] = r
		p.next = r.Offset + 1
		c.parts[r.Partition] = p
		if end, ok := c.ends[r.Partition]; ok && p.next >= end {
			delete(c.ends, r.Partition)
		}
	}
	if c.flags.group == "" {
		return nil
	}
	if err := c.printer.flush(); err != nil {
		return err // what did not reach the reader is not committed
	}
	for _, r := range last {
		c.client.MarkCommitRecords(r)
	}
	return nil
}

// reportErrors returns the errors that do not pass, and warns once of each that may. A record that cannot be read from the disk does
// not get better by asking again, although Kafka calls it retriable: there, another replica may have it.
func (c *consumption) reportErrors(ctx context.Context, fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if e.Topic == "" {
			if errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled) {
				continue
			}
			return e.Err
		}
		p := c.parts[e.Partition]
		at := fmt.Sprintf("topic %s partition %d at offset %d", e.Topic, e.Partition, p.next)
		switch {
		case errors.Is(e.Err, kerr.OffsetOutOfRange):
			return fmt.Errorf("%s: %s: %w; go on with --from earliest", at, c.outOfRange(ctx, e.Partition), e.Err)
		case errors.Is(e.Err, kerr.KafkaStorageError), errors.Is(e.Err, kerr.CorruptMessage):
			return fmt.Errorf("%s: the broker cannot read its disk: %w; its log says which file, and keyframe check looks for damage while it is stopped", at, e.Err)
		case !kerr.IsRetriable(e.Err) && !kgo.IsRetryableBrokerErr(e.Err):
			return fmt.Errorf("%s: %w", at, e.Err)
		}
		if text := fmt.Sprintf("partition %d: %v", e.Partition, e.Err); !c.warned[text] {
			if c.warned == nil {
				c.warned = map[string]bool{}
			}
			c.warned[text] = true
			fmt.Fprintf(c.warnings, "%s: %v; trying again\n", at, e.Err)
		}
	}
	return nil
}

// outOfRange says why an offset that the log had cannot be read.
func (c *consumption) outOfRange(ctx context.Context, no int32) string {
	p, admin := c.parts[no], kadm.NewClient(c.client)
	starts, startErr := admin.ListStartOffsets(ctx, c.topic)
	ends, endErr := admin.ListEndOffsets(ctx, c.topic)
	start, _ := starts.Lookup(c.topic, no)
	end, _ := ends.Lookup(c.topic, no)
	if cmp.Or(startErr, endErr, start.Err, end.Err) == nil && start.Offset <= p.next && p.next <= end.Offset {
		return "the offset is stale: which keys were deleted behind it is not known any more, and keyframe.stale.fetch=error lets nobody read past that"
	}
	return fmt.Sprintf("the log does not have this offset any more (it began at %d and ended at %d)", p.logStart, p.end)
}
