package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitTimeout bounds the last commit, which happens after an interruption too.
const commitTimeout = 5 * time.Second

// commitWatch hears of the commits that the client makes from time to time, and tells the user of those that fail: the client tries again
// in silence, and whoever consumes next would print everything once more.
type commitWatch struct {
	group    string
	warnings io.Writer

	mu      sync.Mutex
	failing string // as it was told; "": the last one went well
	last    bool   // nothing is tried again
}

func (w *commitWatch) done(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
	if err == nil && resp != nil {
		err = refusedCommit(resp)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.last, errors.Is(err, context.Canceled): // the client goes, or commits something newer
	case err == nil && w.failing != "":
		w.failing = ""
		fmt.Fprintf(w.warnings, "the offsets of group %s are committed again\n", w.group)
	case err != nil && err.Error() != w.failing:
		w.failing = err.Error()
		fmt.Fprintf(w.warnings, "%v; trying again\n", w.explain(err))
	}
}

// stop is before the last commit, whose failure ends the command.
func (w *commitWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = true
}

func (w *commitWatch) explain(err error) error {
	if errors.Is(err, kerr.KafkaStorageError) {
		err = fmt.Errorf("the broker cannot write to its disk (it may be full), and what is printed now will be printed again: %w", err)
	}
	return fmt.Errorf("commit the offsets of group %s: %w", w.group, err)
}

// refusedCommit is the first error of a partition.
func refusedCommit(resp *kmsg.OffsetCommitResponse) error {
	for _, rt := range resp.Topics {
		for _, rp := range rt.Partitions {
			if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit commits what was printed. The client does so too as it leaves the group, but keeps a failure to itself.
func (c *consumption) commit(ctx context.Context) error {
	if c.commits == nil {
		return nil
	}
	c.commits.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := c.client.CommitMarkedOffsets(ctx); err != nil {
		return c.commits.explain(err)
	}
	return nil
}
