// Suite compares Keyframe with its peers, row by row of one table: it starts both on this machine, runs them in turn, A B A B, and writes what came of
// it into bench/README.md, beside what is to be reached.
//
//	go run ./bench/suite [-only PATTERN] [-pairs N] [-report DIR] [-dir DIR] [-quick]
//
// Rows that are not run keep what was measured before. Apache Kafka is fetched and started by bench/peers/kafka/kafka.sh, which needs Java 17 and Maven;
// NATS JetStream is part of bench/peers/nats, a Go module of its own.
// It exits with 1 if something that was measured is not as it is to be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/footprint"
	"github.com/keyframelog/keyframe/bench/launch"
	"github.com/keyframelog/keyframe/bench/report"
)

type options struct {
	only   *regexp.Regexp
	pairs  int
	report string // directory; "": none
	dir    string // for data of the brokers; "": a temporary one
	quick  bool   // a hundredth of each row, which is written nowhere
}

func main() {
	var o options
	only := flag.String("only", "", "run only the rows in whose name this pattern is found")
	flag.IntVar(&o.pairs, "pairs", 5, "how often each side of a row is run")
	flag.StringVar(&o.report, "report", "", "directory for a report with all that was measured")
	flag.StringVar(&o.dir, "dir", "", "directory for the data of the brokers (default: a temporary one)")
	flag.BoolVar(&o.quick, "quick", false, "run each row with a hundredth of its data, to see that it runs; its figures are printed, and written nowhere else")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	kept := false
	if o.only, err = regexp.Compile(*only); err == nil {
		kept, err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
	}
	if err != nil || !kept {
		os.Exit(1)
	}
}

// run measures the rows that are asked for. What is done is written at once: a suite takes hours.
func run(ctx context.Context, o options) (kept bool, err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "keyframe-suite-"); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	table, err := readTable(tableFile)
	if err != nil {
		return false, err
	}
	servers := &servers{dir: o.dir}
	defer func() { err = errors.Join(err, servers.stop()) }()
	kept = true
	var data report.Data
	for _, r := range rows() {
		if !o.only.MatchString(r.name) {
			continue
		}
		if o.quick {
			r = r.quick()
		}
		c, err := servers.compare(ctx, r, o.pairs)
		if err != nil {
			return false, fmt.Errorf("%s: %w", r.name, err)
		}
		data.Comparisons = append(data.Comparisons, c)
		if o.quick {
			printQuick(os.Stdout, r, c)
			continue
		}
		measured := r.judge(c)
		measured.print(os.Stdout)
		kept = kept && measured.kept()
		table.put(measured)
		if err := table.write(tableFile, readmeFile); err != nil {
			return false, err
		}
		if o.report != "" {
			if err := report.Write(o.report, data); err != nil {
				return false, err
			}
		}
	}
	if len(data.Comparisons) == 0 {
		return false, fmt.Errorf("no row has %q in its name: there are %s", o.only, strings.Join(names(), ", "))
	}
	return kept, nil
}

func names() (list []string) {
	for _, r := range rows() {
		list = append(list, r.name)
	}
	return list
}

// compare runs a row, with the servers that it needs.
func (s *servers) compare(ctx context.Context, r row, pairs int) (*compare.Comparison, error) {
	if r.starts {
		return s.compareStarted(ctx, r, pairs)
	}
	if theirs, ok := r.theirs.(jetstream); ok {
		return s.compareJetstream(ctx, r, theirs, pairs)
	}
	ours, err := s.keyframe(ctx)
	if err != nil {
		return nil, err
	}
	theirs, err := s.kafka(ctx, r.kafka)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "%s: %d pairs\n", r.name, pairs)
	return compare.Run(ctx, compare.Side{Target: ours, Workload: r.ours}, compare.Side{Target: theirs, Workload: r.theirs}, pairs, bench.Silent)
}

// compareStarted runs a row that starts its brokers itself.
func (s *servers) compareStarted(ctx context.Context, r row, pairs int) (*compare.Comparison, error) {
	if err := s.stop(); err != nil {
		return nil, err
	}
	binary, err := s.build(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "%s: %d pairs\n", r.name, pairs)
	return compare.Run(ctx, compare.Side{Target: footprint.Target("keyframe"), Workload: startedIn(r.ours, s.dir, launch.Keyframe(binary))},
		compare.Side{Target: footprint.Target("kafka"), Workload: startedIn(r.theirs, s.dir, kafkaCommand(r.kafka))}, pairs, bench.Silent)
}
