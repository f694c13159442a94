package githistory

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Repo is a Git repository that can be read.
type Repo struct {
	dir  string
	head string
}

// Change is one path that a commit changed.
type Change struct {
	Path    string
	Mode    string // as Git prints it, six octal digits
	Object  string // hex object id
	Deleted bool   // the path is gone; Mode and Object are empty
}

// Value is the delta's value: mode and object id; nil for a deletion, which makes the record a tombstone.
func (c Change) Value() []byte {
	if c.Deleted {
		return nil
	}
	return []byte(c.Mode + " " + c.Object)
}

// Commit is one step of the history.
type Commit struct {
	ID      string
	Time    time.Time // committer time, second resolution
	Changes []Change
}

// ErrNoHistory says that the directory is no Git repository or has no commit yet.
var ErrNoHistory = errors.New("no Git history")

// Open finds the repository that dir belongs to. The head is resolved once, so that commits made while the history is
// read do not show.
func Open(ctx context.Context, dir string) (*Repo, error) {
	r := &Repo{dir: dir}
	head, err := r.output(ctx, "rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return nil, fmt.Errorf("%w in %s: %w", ErrNoHistory, dir, err)
	}
	r.head = strings.TrimSpace(string(head))
	return r, nil
}

// Head is the object id of the newest commit.
func (r *Repo) Head() string { return r.head }

// Count is the number of commits that Commits yields.
func (r *Repo) Count(ctx context.Context) (int, error) {
	out, err := r.output(ctx, "rev-list", "--first-parent", "--count", r.head)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// Commits yields the history, oldest first. The iteration ends at the first error.
func (r *Repo) Commits(ctx context.Context) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends git when the caller stops early
		cmd := r.command(ctx, "log", "--first-parent", "--diff-merges=first-parent", "--reverse", "--raw", "-r", "--no-abbrev",
			"--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none", "-z", "--format=%x01%H %ct", r.head)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			yield(Commit{}, err)
			return
		}
		if err := cmd.Start(); err != nil {
			yield(Commit{}, err)
			return
		}
		stopped, err := parseLog(stdout, yield)
		if stopped {
			cancel()
			_ = cmd.Wait() // killed by us: its status says nothing
			return
		}
		waitErr := cmd.Wait()
		switch {
		case ctx.Err() != nil:
			err = ctx.Err() // git was killed by us: neither its output nor its status says anything
		case err == nil && waitErr != nil:
			err = fmt.Errorf("git log: %w: %s", waitErr, strings.TrimSpace(stderr.String()))
		}
		if err != nil {
			yield(Commit{}, err)
		}
	}
}

// parseLog reads NUL-terminated fields: "\x01<id> <seconds>" starts a commit, ":<old mode> <mode> <old id> <id> <status>" and
// the path after it are one change. stopped says that the consumer had enough.
func parseLog(in io.Reader, yield func(Commit, error) bool) (stopped bool, err error) {
	var commit Commit
	fields := bufio.NewReaderSize(in, 1<<16)
	for {
		field, err := fields.ReadString(0)
		if errors.Is(err, io.EOF) && field == "" {
			if commit.ID != "" {
				return !yield(commit, nil), nil
			}
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("git log: output ends inside a field: %w", err)
		}
		field = strings.TrimLeft(strings.TrimSuffix(field, "\x00"), "\n")
		switch {
		case field == "":
		case field[0] == 1:
			if commit.ID != "" && !yield(commit, nil) {
				return true, nil
			}
			if commit, err = parseCommit(field[1:]); err != nil {
				return false, err
			}
		case field[0] == ':':
			path, err := fields.ReadString(0)
			if err != nil {
				return false, fmt.Errorf("git log: a change without a path: %w", err)
			}
			change, err := parseChange(field[1:], strings.TrimSuffix(path, "\x00"))
			if err != nil {
				return false, err
			}
			commit.Changes = append(commit.Changes, change)
		default:
			return false, fmt.Errorf("git log: unexpected field %q", field)
		}
	}
}

func parseCommit(s string) (Commit, error) {
	id, seconds, ok := strings.Cut(s, " ")
	at, err := strconv.ParseInt(strings.TrimSpace(seconds), 10, 64)
	if !ok || err != nil {
		return Commit{}, fmt.Errorf("git log: malformed commit line %q", s)
	}
	return Commit{ID: id, Time: time.Unix(at, 0).UTC()}, nil
}

func parseChange(s, path string) (Change, error) {
	f := strings.Fields(s)
	if len(f) != 5 || path == "" {
		return Change{}, fmt.Errorf("git log: malformed change %q of %q", s, path)
	}
	if f[4] == "D" {
		return Change{Path: path, Deleted: true}, nil
	}
	return Change{Path: path, Mode: f[1], Object: f[3]}, nil
}

// Tree is the state that Git itself has for a commit: path to "mode id", the form of Change.Value.
func (r *Repo) Tree(ctx context.Context, commit string) (map[string]string, error) {
	out, err := r.output(ctx, "ls-tree", "-r", "-z", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	tree := map[string]string{}
	for line := range strings.SplitSeq(string(out), "\x00") {
		if line == "" {
			continue
		}
		meta, path, ok := strings.Cut(line, "\t")
		f := strings.Fields(meta)
		if !ok || len(f) != 3 {
			return nil, fmt.Errorf("git ls-tree: malformed line %q", line)
		}
		tree[path] = f[0] + " " + f[2]
	}
	return tree, nil
}

func (r *Repo) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := r.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// command fixes what a user's own Git configuration could change in the output.
func (r *Repo) command(ctx context.Context, args ...string) *exec.Cmd {
	fixed := []string{"-C", r.dir, "-c", "core.quotePath=false", "-c", "log.showRoot=true", "-c", "log.showSignature=false",
		"-c", "diff.orderFile=/dev/null", "-c", "diff.relative=false"}
	cmd := exec.CommandContext(ctx, "git", append(fixed, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interruption at the terminal is ours: ctx tells git
	return cmd
}
