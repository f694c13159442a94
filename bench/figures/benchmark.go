package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

const module = "github.com/keyframelog/keyframe"

// benchmarks runs those of a package that a pattern finds, so many times or for so long.
func benchmarks(ctx context.Context, pkg, pattern, benchtime string, env ...string) (measured, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench="+pattern, "-benchtime="+benchtime, "-timeout=3h", module+"/"+pkg)
	cmd.Env = append(os.Environ(), env...)
	return output(cmd)
}

// output runs benchmarks and reads what they print.
func output(cmd *exec.Cmd) (measured, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return parse(bytes.NewReader(out))
}

// procs is what go test puts behind the name of a benchmark.
var procs = regexp.MustCompile(`-\d+$`)

// parse reads the lines of benchmarks: name, how often it ran, and pairs of a number and its unit.
func parse(r io.Reader) (measured, error) {
	m := measured{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, ok := strings.CutPrefix(lines.Text(), "Benchmark")
		fields := strings.Fields(name)
		if !ok || len(fields) < 4 {
			continue
		}
		metrics := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("benchmark %s: %w", fields[0], err)
			}
			metrics[fields[i+1]] = v
		}
		m[procs.ReplaceAllString(fields[0], "")] = metrics
	}
	return m, lines.Err()
}
