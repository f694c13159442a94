package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// upkeepTurns is how often each side is measured. The best of each counts: what others on the machine take away makes both only worse.
const upkeepTurns = 3

// upkept is a rate of which keeping the digest takes a share.
type upkept struct {
	name                  string // of the figure
	pkg, bench, benchtime string
	rate                  string // the benchmark's metric; higher is better
	rows                  string // of the benchmark, where it can be told
}

// upkeep runs benchmarks by turns as they are, and built with a digest that does nothing: what is kept costs the difference.
func upkeep(ctx context.Context) (m measured, err error) {
	dir, err := os.MkdirTemp("", "keyframe-figures-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	overlay, err := idleDigest(ctx, dir)
	if err != nil {
		return nil, err
	}
	m = measured{}
	for _, u := range []upkept{
		{name: "Upkeep/memory", pkg: "storage/memory", bench: "Apply", benchtime: "1500x", rate: "deltas/cpu-s"},
		{name: "Upkeep/replica/memory", pkg: "client", bench: "Follow/memory", benchtime: "1000x", rate: "deltas/cpu-s"},
		{name: "Upkeep/table", pkg: "storage/table", bench: "Fold/touched=10%", benchtime: "20x", rate: "keys/cpu-s", rows: "200000"},
		{name: "Upkeep/replica/dir", pkg: "client", bench: "Follow/dir", benchtime: "300x", rate: "deltas/cpu-s"},
	} {
		if m[u.name], err = u.measure(ctx, dir, overlay); err != nil {
			return nil, fmt.Errorf("%s: %w", u.name, err)
		}
	}
	return m, nil
}

func (u *upkept) measure(ctx context.Context, dir, overlay string) (map[string]float64, error) {
	with, without := filepath.Join(dir, "with.test"), filepath.Join(dir, "without.test")
	if err := errors.Join(compile(ctx, u.pkg, with), compile(ctx, u.pkg, without, "-overlay="+overlay)); err != nil {
		return nil, err
	}
	best := map[string]float64{}
	for range upkeepTurns {
		for _, binary := range []string{with, without} {
			cmd := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.bench=^Benchmark"+strings.ReplaceAll(u.bench, "/", "$/^")+"$", "-test.benchtime="+u.benchtime)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "KEYFRAME_BENCH_ROWS="+u.rows)
			m, err := output(cmd)
			if err != nil {
				return nil, err
			}
			rate, ok := m[u.bench][u.rate]
			if !ok {
				return nil, fmt.Errorf("%s has no metric %s", u.bench, u.rate)
			}
			best[binary] = max(best[binary], rate)
		}
	}
	return map[string]float64{"%": 100 * (1 - best[with]/best[without]), u.rate: best[with]}, nil
}

func compile(ctx context.Context, pkg, binary string, flags ...string) error {
	args := append([]string{"test", "-c", "-o", binary}, flags...)
	if out, err := exec.CommandContext(ctx, "go", append(args, module+"/"+pkg)...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the benchmarks of %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// idle is what functions of proto/digest do in a build that keeps no digest. Entries are not zero: that is a tombstone's.
var idle = map[string]string{"Hasher.Entry": "{ return Entry{31: 1} }", "Sum.Add": "{}", "Sum.Sub": "{}"}

// idleDigest writes a build overlay in which the digest costs nothing, and returns its path.
func idleDigest(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", module+"/proto/digest").Output()
	if err != nil {
		return "", fmt.Errorf("find proto/digest: %w", err)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "digest.go")
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if source, err = makeIdle(source); err != nil {
		return "", err
	}
	replaced, overlay := filepath.Join(dir, "digest.go"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {path: replaced}})
	return overlay, errors.Join(err, os.WriteFile(replaced, source, 0o600), os.WriteFile(overlay, text, 0o600))
}

// makeIdle replaces the bodies of functions in the source of proto/digest.
func makeIdle(source []byte) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "digest.go", source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	done, found := 0, 0
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv == nil {
			continue
		}
		star, ok := f.Recv.List[0].Type.(*ast.StarExpr)
		if !ok {
			continue
		}
		body, ok := idle[fmt.Sprintf("%s.%s", star.X, f.Name)]
		if !ok {
			continue
		}
		found++
		out.Write(source[done:files.Position(f.Body.Pos()).Offset])
		out.WriteString(body)
		done = files.Position(f.Body.End()).Offset
	}
	out.Write(source[done:])
	if found != len(idle) {
		return nil, fmt.Errorf("proto/digest: %d of %d functions found", found, len(idle))
	}
	out.WriteString("\nvar _ = bits.Sub64\n")
	return format.Source(out.Bytes())
}
