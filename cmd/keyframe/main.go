// Command keyframe is the whole product in one binary: the broker (serve), the tools to look into it and the demo.
//
//	keyframe serve                       a broker on 127.0.0.1:9092, its state plane on 127.0.0.1:9094
//	keyframe topic create users --cleanup-policy compact
//	keyframe produce users < lines       key and value, separated by a tab
//	keyframe state get users alice       the folded state
//	keyframe diff users --from 1000      what has changed since; keyframe history users alice: how
//	keyframe replica run users           a verified copy that follows
//	keyframe reconcile users < dump      make its state that of a dump: write only what differs
//	keyframe verify users --dir DIR      is that copy the log's? keyframe repair makes it so
//	keyframe drill drift                 what becomes of replicas that are lied to
//	keyframe check --data-dir DIR        verify a stopped broker's directory
//
// Settings come from flags, KEYFRAME_* variables and a YAML file, in this order; package cmd/keyframe is the only place that
// reads them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// repeatedWithin is for how long a signal that comes again is the same one: timeout(1) sends its own to the process, then to its group.
const repeatedWithin = 100 * time.Millisecond

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup asked that a hangup does not end it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, func() {
		time.AfterFunc(repeatedWithin, func() {
			stop()                        // a second signal ends the process at once
			signal.Ignore(syscall.SIGHUP) // but a terminal that goes away may say so twice
		})
	})
	root := newRootCommand()
	cmd, err := root.ExecuteContextC(ctx)
	interrupted := ctx.Err() != nil
	stop()
	var silent exitError
	switch {
	case err == nil:
	case errors.As(err, &silent):
		os.Exit(int(silent))
	case interrupted && errors.Is(err, context.Canceled):
		os.Exit(130) // interrupted by the user, as a shell reports it
	default:
		fmt.Fprintln(os.Stderr, "keyframe: "+explain(err))
		os.Exit(failureStatus(cmd))
	}
}

// exitError ends the process with a status; what there was to say has been printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// troubleAnnotation marks the commands whose errors are status 2, because their status 1 says something else.
const troubleAnnotation = "trouble"

func failureStatus(cmd *cobra.Command) int {
	if _, marked := cmd.Annotations[troubleAnnotation]; marked {
		return 2
	}
	return 1
}
