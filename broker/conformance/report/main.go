// Report runs the conformance tests and says at its end how many passed, on which broker. It exits with 1 unless all of them did:
// a test that skips has shown nothing, so it counts as one that did not pass.
//
//	go run ./broker/conformance/report [-addr host:port] [-run pattern]
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

func main() {
	addr := flag.String("addr", "", "the broker to test; one of ours is started without it")
	pattern := flag.String("run", ".", "tests to run, as for go test")
	flag.Parse()
	began := time.Now()
	cmd := exec.Command("go", "test", "-json", "-count=1", "-timeout=15m", "-run="+*pattern, "github.com/keyframelog/keyframe/broker/conformance")
	cmd.Env = os.Environ()
	if *addr != "" {
		cmd.Env = append(cmd.Env, "KEYFRAME_TEST_KAFKA_ADDR="+*addr)
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s, readErr := read(out, os.Stdout)
	err = cmd.Wait()
	s.print(os.Stdout, time.Since(began))
	if err != nil || readErr != nil || !s.good() {
		os.Exit(1)
	}
}

// event is a line of `go test -json`.
type event struct{ Action, Test, Output string }

// summary of a run. Names are of leaves: a test that has subtests is what they are.
type summary struct {
	broker                  string
	passed, failed, skipped []string
	output                  map[string][]string // of tests that have not passed
}

// read follows a run and shows the output of what fails or skips.
func read(in io.Reader, show io.Writer) (*summary, error) {
	s := &summary{output: map[string][]string{}}
	result := map[string]string{}
	parents := map[string]bool{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(show, lines.Text()) // what go says when it does not build
			continue
		}
		switch {
		case e.Action == "output" && e.Test == "":
			if name, ok := strings.CutPrefix(e.Output, "broker: "); ok {
				s.broker = strings.TrimSpace(name)
			} else if !strings.HasPrefix(e.Output, "ok ") && e.Output != "PASS\n" {
				fmt.Fprint(show, e.Output)
			}
		case e.Action == "build-output":
			fmt.Fprint(show, e.Output)
		case e.Action == "output":
			s.output[e.Test] = append(s.output[e.Test], e.Output)
		case e.Action == "run":
			for i, r := range e.Test {
				if r == '/' {
					parents[e.Test[:i]] = true
				}
			}
		case e.Test != "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
			result[e.Test] = e.Action
			if e.Action != "pass" {
				fmt.Fprint(show, strings.Join(s.output[e.Test], ""))
			}
			delete(s.output, e.Test)
		}
	}
	for test := range s.output { // still running when the process ended
		if _, ended := result[test]; !ended && strings.Join(s.output[test], "") != "" {
			result[test] = "fail"
			fmt.Fprint(show, strings.Join(s.output[test], ""))
		}
	}
	for test, action := range result {
		switch {
		case action == "fail" && (!parents[test] || !anyFailed(result, test)):
			s.failed = append(s.failed, test)
		case parents[test]:
		case action == "skip":
			s.skipped = append(s.skipped, test)
		case action == "pass":
			s.passed = append(s.passed, test)
		}
	}
	slices.Sort(s.failed)
	slices.Sort(s.skipped)
	return s, lines.Err()
}

// anyFailed tells whether a test failed because one in it did.
func anyFailed(result map[string]string, parent string) bool {
	for test, action := range result {
		if action == "fail" && strings.HasPrefix(test, parent+"/") {
			return true
		}
	}
	return false
}

func (s *summary) good() bool {
	return s.broker != "" && len(s.passed) > 0 && len(s.failed) == 0 && len(s.skipped) == 0
}

func (s *summary) print(out io.Writer, took time.Duration) {
	for _, test := range s.failed {
		fmt.Fprintln(out, "FAILED ", test)
	}
	for _, test := range s.skipped {
		fmt.Fprintln(out, "SKIPPED", test)
	}
	name := s.broker
	if name == "" {
		name = "no broker was reached"
	}
	fmt.Fprintf(out, "conformance: %d tests ran, %d passed, %d failed, %d skipped, in %.0f s\non %s\n",
		len(s.passed)+len(s.failed), len(s.passed), len(s.failed), len(s.skipped), took.Seconds(), name)
}
