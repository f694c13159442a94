package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// maxShownFailures is how many refused lines are named before the rest is only counted.
const maxShownFailures = 10

// deliveries counts the lines that were acknowledged and those that were refused, and gives up when nothing was acknowledged for too
// long. The client's own timeout is of no use here: it counts from a record's timestamp, which may be years old.
type deliveries struct {
	ctx     context.Context // ends when it gives up
	cancel  context.CancelFunc
	topic   string
	timeout time.Duration
	to      io.Writer

	mu sync.Mutex
	// Guarded by mu: the client's callbacks come from its own goroutine.
	silence  *time.Timer // runs while lines wait
	waiting  int
	produced int
	failed   int
	first    []refusedLine
	gaveUp   bool
}

func newDeliveries(ctx context.Context, topic string, timeout time.Duration, to io.Writer) *deliveries {
	d := &deliveries{topic: topic, timeout: timeout, to: to}
	d.ctx, d.cancel = context.WithCancel(ctx)
	d.silence = time.AfterFunc(timeout, d.giveUp)
	d.silence.Stop()
	return d
}

func (d *deliveries) stop() {
	d.silence.Stop()
	d.cancel()
}

// giveUp says so at once: the next line of input may never come.
func (d *deliveries) giveUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == 0 {
		return
	}
	d.gaveUp = true
	fmt.Fprintf(d.to, "nothing was acknowledged for %s: the broker does not answer, or cannot write (its disk may be full)\n", d.timeout)
	d.cancel()
}

func (d *deliveries) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting++; d.waiting == 1 {
		d.silence.Reset(d.timeout)
	}
}

func (d *deliveries) end(line int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting--; d.waiting == 0 {
		d.silence.Stop()
	} else if err == nil {
		d.silence.Reset(d.timeout)
	}
	if err == nil {
		d.produced++
		return
	}
	d.failed++
	if d.gaveUp {
		return // one reason for all, and it was told
	}
	if errors.Is(err, kerr.KafkaStorageError) {
		err = fmt.Errorf("the broker cannot write to its disk (it may be full): %w", err)
	}
	if len(d.first) < maxShownFailures {
		d.first = append(d.first, refusedLine{line, err})
	}
}

// refusedLine is one that was not produced.
type refusedLine struct {
	number int
	err    error
}

// report prints the first failures, how many more there are, and how many records were produced.
func (d *deliveries) report() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortFunc(d.first, func(a, b refusedLine) int { return cmp.Compare(a.number, b.number) })
	for _, refused := range d.first {
		fmt.Fprintf(d.to, "line %d: %v\n", refused.number, refused.err)
	}
	lost := d.failed + d.waiting
	if more := lost - len(d.first); more > 0 && !d.gaveUp {
		fmt.Fprintf(d.to, "and %d more\n", more)
	}
	fmt.Fprintf(d.to, "%d record(s) produced to %s\n", d.produced, d.topic)
	switch {
	case d.gaveUp:
		return fmt.Errorf("%d line(s) were not acknowledged by %s: some of them may be there; --timeout waits longer", lost, d.topic)
	case lost > 0:
		return fmt.Errorf("%d line(s) were not produced to %s", lost, d.topic)
	}
	return nil
}

// interrupted says what is known of the lines that were read.
func (d *deliveries) interrupted() {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.to, "%d record(s) produced to %s; up to %d more may be there\n", d.produced, d.topic, d.failed+d.waiting)
}
