// Package process starts a broker of our own for a benchmark, in a process of its own, as a peer's broker is: so that the client's
// memory and scheduling are not the broker's.
//
//	p, err := process.Start(ctx, tempDir)
//	defer p.Stop()
//	... p.Kafka, p.State, p.RSS()
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Broker is a running process.
type Broker struct {
	Kafka   string        // address of the data plane
	State   string        // URL of the state plane
	Started time.Duration // from exec to the line that says where it listens

	cmd    *exec.Cmd
	output chan struct{} // closed when its standard error has ended
}

// Start builds the binary into dir, once, and serves from dir/data on ports that the system chooses.
func Start(ctx context.Context, dir string) (*Broker, error) {
	binary := filepath.Join(dir, "keyframe")
	if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/keyframelog/keyframe/cmd/keyframe")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the broker: %w: %s", err, out)
		}
	}
	b := &Broker{output: make(chan struct{})}
	b.cmd = exec.CommandContext(ctx, binary, "serve", "--data-dir", filepath.Join(dir, "data"), "--kafka-addr", "127.0.0.1:0",
		"--state-addr", "127.0.0.1:0", "--log-format", "json")
	b.cmd.Env = Environ()
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stderr)
	var said []string
	for b.Kafka == "" && lines.Scan() {
		said = append(said, lines.Text())
		b.Kafka, b.State = logged(lines.Text(), "kafka_addr"), "http://"+logged(lines.Text(), "state_addr")
	}
	b.Started = time.Since(began)
	go func() {
		defer close(b.output)
		for lines.Scan() { // keep the pipe empty
		}
	}()
	if b.Kafka == "" {
		return nil, errors.Join(fmt.Errorf("the broker did not start: %s", strings.Join(said, "\n")), b.Stop())
	}
	return b, nil
}

// Environ is the environment of this process without the KEYFRAME_ variables: those are settings to a broker, which refuses the ones
// that it does not know, such as a benchmark's own.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "KEYFRAME_") })
}

func logged(line, name string) string {
	_, rest, _ := strings.Cut(line, `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// RSS is the resident memory in bytes; 0 where the system does not say.
func (b *Broker) RSS() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var kib int64
	if _, rest, ok := strings.Cut(string(text), "VmRSS:"); ok {
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			return 0
		}
	}
	return kib << 10
}

// CPU is the processor time that a stopped broker has used.
func (b *Broker) CPU() time.Duration {
	if s := b.cmd.ProcessState; s != nil {
		return s.UserTime() + s.SystemTime()
	}
	return 0
}

// Stop ends the process as an operator does, and waits for it.
func (b *Broker) Stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-b.output
	return b.cmd.Wait()
}
