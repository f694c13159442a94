// Figures measures what is promised of replicas, each beside what loading the whole frame cost in the same run, and prints a table: what, measured,
// promised, whole frame. It exits with 1 if a promise is not kept.
//
//	go run ./bench/figures [-only PATTERN] [-deltas N]
//
// The measurements are benchmarks, of this package and of those that have what is measured. Each can be repeated alone:
//
//	go test -run '^$' -bench Repair -benchtime 1x ./bench/figures
//
// What does not depend on the machine (bytes, round trips, verdicts) is tested with fewer rows and deltas by go test.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"text/tabwriter"
)

func main() {
	only := flag.String("only", "", "measure only what this pattern finds in the name of a source: "+strings.Join(sourceNames(), ", "))
	deltas := flag.Int64("deltas", 10_000_000, "how many deltas are followed without a false alarm")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	kept, err := run(ctx, *only, *deltas)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !kept {
		os.Exit(1)
	}
}

// run measures and prints. kept: everything is within its bound.
func run(ctx context.Context, only string, deltas int64) (kept bool, err error) {
	pattern, err := regexp.Compile("(?i)" + only)
	if err != nil {
		return false, err
	}
	fmt.Printf("%s %s/%s, %d cores; load %s before\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load())
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FIGURE\tMEASURED\tBOUND\tWHOLE FRAME\t")
	kept = true
	for _, s := range sources(deltas) {
		if !pattern.MatchString(s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s\n", s.name)
		got, err := s.measure(ctx)
		if err != nil {
			return false, fmt.Errorf("%s: %w", s.name, err)
		}
		for _, f := range s.figures {
			line, ok, err := f.line(got)
			if err != nil {
				return false, fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Fprintln(table, line)
			kept = kept && ok
		}
	}
	err = table.Flush()
	fmt.Printf("load %s after\n", load())
	return kept, err
}

// load is the machine's load average, where it says so.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if fields := strings.Fields(string(text)); err == nil && len(fields) >= 3 {
		return strings.Join(fields[:3], " ")
	}
	return "unknown"
}
