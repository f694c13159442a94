package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// demoOutput ends the demo at the first write that fails, and keeps its error.
type demoOutput struct {
	to     io.Writer
	cancel context.CancelFunc
	failed atomic.Pointer[error]
}

// whileRead returns a context that ends when nobody reads the output any more. Go's runtime would end the process with SIGPIPE,
// and the temporary directory would stay; with the signal taken, the write fails instead. The signal itself tells nothing: a broken
// connection between broker and replica raises it too.
func whileRead(ctx context.Context, to io.Writer) (context.Context, *demoOutput, func()) {
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &demoOutput{to: to, cancel: cancel}, func() {
		cancel()
		signal.Stop(unread)
	}
}

func (o *demoOutput) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err != nil && o.failed.CompareAndSwap(nil, &err) {
		o.cancel()
	}
	return n, err
}

// ended is the error of a demo that has ended with one, or whose output has.
func (o *demoOutput) ended(command context.Context, err error) error {
	switch unwritten := o.err(); {
	case command.Err() != nil && err != nil:
		return command.Err() // what an interruption breaks is no news
	case errors.Is(unwritten, syscall.EPIPE):
		return exitError(141) // nobody reads on, which a shell reports as SIGPIPE
	case unwritten != nil:
		return unwritten
	}
	return err
}

func (o *demoOutput) err() error {
	if err := o.failed.Load(); err != nil {
		return *err
	}
	return nil
}
