package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

type options struct {
	addr, clients, only, require, readme, json, logs string
	jobs                                             int
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "", "host:port of the broker; empty: one of ours is built and started")
	flag.StringVar(&o.clients, "clients", "", "names of the clients, separated by commas; empty: all")
	flag.StringVar(&o.only, "only", "", "names of the capabilities, separated by commas; empty: all")
	flag.StringVar(&o.require, "require", "", "clients that have to be installed, separated by commas, or all")
	flag.StringVar(&o.readme, "readme", "", "file whose tables to write")
	flag.StringVar(&o.json, "json", "", "file for the result")
	flag.StringVar(&o.logs, "logs", "", "directory for the drivers' and the broker's output; empty: kept only if something failed")
	flag.IntVar(&o.jobs, "jobs", 2, "how many clients run at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := interop(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// interop runs it all and says whether nothing failed.
func interop(ctx context.Context, o options, out io.Writer) (ok bool, err error) {
	chosen, err := choose(o.clients, o.only)
	if err != nil {
		return false, err
	}
	temp, err := os.MkdirTemp("", "keyframe-interop-")
	if err != nil {
		return false, err
	}
	defer func() {
		if o.logs == "" && !ok {
			fmt.Fprintf(out, "the output of the drivers and of the broker is in %s\n", filepath.Join(temp, "logs"))
			err = errors.Join(err, keepOnly(temp, "logs"))
			return
		}
		err = errors.Join(err, os.RemoveAll(temp))
	}()
	logs := o.logs
	if logs == "" {
		logs = filepath.Join(temp, "logs")
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return false, err
	}
	_, file, _, _ := runtime.Caller(0)
	w := &workplace{source: filepath.Dir(file), temp: temp, addr: o.addr, only: o.only, prefix: "interop-" + strconv.FormatInt(time.Now().Unix(), 36)}
	var b *ours
	if o.addr == "" {
		log, err := os.Create(filepath.Join(logs, "broker.log"))
		if err != nil {
			return false, err
		}
		defer log.Close()
		if b, err = startOurs(ctx, temp, log); err != nil {
			return false, err
		}
		w.addr = b.Kafka
		defer func() {
			if e := b.Stop(); e != nil {
				ok, err = false, errors.Join(err, e)
			}
		}()
	}
	reports, err := w.run(ctx, o, chosen, b, logs, out)
	if err != nil {
		return false, err
	}
	fmt.Fprintln(out)
	printTable(out, reports)
	passed, failed, skipped, absent := count(reports)
	fmt.Fprintf(out, "\n%d of %d clients were not installed\n%d passed, %d failed, %d skipped\n", absent, len(reports), passed, failed, skipped)
	return failed == 0 && required(out, o.require, reports), errors.Join(writeJSON(o.json, reports), writeReadme(o.readme, reports))
}

// run prepares the drivers and runs them, some at a time.
func (w *workplace) run(ctx context.Context, o options, chosen []driver, b *ours, logs string, out io.Writer) ([]report, error) {
	fixture := w.prefix + "-bootstrap"
	fixtureErr := make(chan error, 1)
	var readingEnv []string
	readingErr := make(chan error, 1)
	go func() { fixtureErr <- makeFixture(ctx, w.addr, fixture, b) }()
	go func() {
		var err error
		readingEnv, err = makeReadings(ctx, w, chosen, b)
		readingErr <- err
	}()
	commands := make([][]string, len(chosen))
	reports := make([]report, len(chosen))
	for i, d := range chosen {
		began := time.Now()
		var err error
		if commands[i], err = d.prepare(ctx, w); err != nil {
			reports[i] = d.report()
			if errors.Is(err, errMissing) {
				reports[i].Missing = err.Error()
			} else {
				reports[i] = reports[i].failed(d.wanted(w.only), err.Error())
			}
			commands[i] = nil
		}
		fmt.Fprintf(out, "prepared %-16s %6.1f s\n", d.name, time.Since(began).Seconds())
	}
	began := time.Now()
	if err := errors.Join(<-fixtureErr, <-readingErr, makeFours(ctx, w, chosen)); err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "waited for the compacted topics %.1f s\n", time.Since(began).Seconds())
	w.env = []string{"INTEROP_ADDR=" + w.addr, "INTEROP_ONLY=" + o.only, "INTEROP_BOOTSTRAP=" + fixture, "INTEROP_DEBEZIUM=cleanup.policy=compact"}
	if b != nil {
		w.env[3] += ",keyframe.fold=debezium"
		w.env = append(w.env, "INTEROP_KEYFRAME="+b.binary, "INTEROP_STATE_URL="+b.State)
	}
	w.env = append(w.env, readingEnv...)
	var wait sync.WaitGroup
	slots := make(chan struct{}, max(1, o.jobs))
	var printing sync.Mutex
	for i, d := range chosen {
		if commands[i] == nil {
			continue
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			log, err := os.Create(filepath.Join(logs, d.name+".log"))
			if err != nil {
				reports[i] = d.report().failed(d.wanted(w.only), err.Error())
				return
			}
			defer log.Close()
			reports[i] = d.run(ctx, w, commands[i], log)
			printing.Lock()
			defer printing.Unlock()
			fmt.Fprintf(out, "ran %-21s %6.1f s\n", d.name, reports[i].Seconds)
		})
	}
	wait.Wait()
	return reports, nil
}

// choose picks the drivers by name that have something to do.
func choose(names, only string) ([]driver, error) {
	all := drivers()
	for c := range strings.SplitSeq(only, ",") {
		if c != "" && !slices.ContainsFunc(capabilities(), func(k capability) bool { return k.name == c }) {
			return nil, fmt.Errorf("no capability is named %q", c)
		}
	}
	var chosen []driver
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(d driver) bool { return d.name == name })
		switch {
		case i >= 0:
			chosen = append(chosen, all[i])
		case name != "":
			return nil, fmt.Errorf("no client is named %q", name)
		}
	}
	if len(chosen) == 0 {
		chosen = all
	}
	chosen = slices.DeleteFunc(chosen, func(d driver) bool { return len(d.wanted(only)) == 0 })
	if len(chosen) == 0 {
		return nil, fmt.Errorf("none of the clients %s is asked for %s: capabilities.txt says what there is", names, only)
	}
	return chosen, nil
}

// required complains of the clients that had to be there.
func required(out io.Writer, names string, reports []report) bool {
	ok := true
	for _, r := range reports {
		if r.Missing != "" && (names == "all" || slices.Contains(strings.Split(names, ","), r.Client)) {
			fmt.Fprintf(out, "%s is required and %s\n", r.Client, r.Missing)
			ok = false
		}
	}
	return ok
}

func writeJSON(path string, reports []report) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func writeReadme(path string, reports []report) error {
	if path == "" {
		return nil
	}
	readme, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := insert(string(readme), markdown(reports))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func keepOnly(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != name {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
