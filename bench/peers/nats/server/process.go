package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/keyframelog/keyframe/bench/probe"
)

// Process is a server in a process of its own, so that what it uses can be told from what its clients use.
type Process struct {
	URL     string
	Dir     string
	Process *probe.Process // nil where the system does not tell what one uses
	cmd     *exec.Cmd
	alive   io.Closer
}

// Start has a binary, this program, serve a directory. It ends with Stop, with ctx, and with whoever started it, whatever becomes of that.
func Start(ctx context.Context, binary, dir string, sync Sync) (*Process, error) {
	cmd := exec.CommandContext(ctx, binary, "serve", "--dir", dir, "--sync", string(sync))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Dir: dir, cmd: cmd, alive: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the NATS server did not start: %w", err), p.Stop())
	}
	p.URL = strings.TrimSpace(line)
	if started := (probe.Process{PID: cmd.Process.Pid}); !errors.Is(usage(started), probe.ErrUnsupported) {
		p.Process = &started
	}
	return p, nil
}

func usage(p probe.Process) error {
	_, err := p.Usage()
	return err
}

// Stop ends it, and waits for that.
func (p *Process) Stop() error {
	return errors.Join(p.alive.Close(), p.cmd.Wait())
}

// Run serves until nobody holds the other end of in, and says on out where.
func Run(dir string, sync Sync, in io.Reader, out io.Writer) error {
	s, err := Serve(dir, sync)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := fmt.Fprintln(out, s.URL); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}
