// Package process builds the binary and runs a broker in a process of its own: for tests that kill it, for benchmarks, whose memory and
// scheduling should not be the broker's, and for whatever else talks to it as users do.
//
//	err := process.Build(ctx, binary)
//	p, err := process.Start(ctx, binary, dir, process.Options{})
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
	"slices"
	"strings"
	"syscall"
	"time"
)

// stopMax is how long a broker may take to end before it is killed.
const stopMax = 30 * time.Second

// Build compiles the binary to the path; args go to go build.
func Build(ctx context.Context, path string, args ...string) error {
	build := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", path}, args...), "github.com/keyframelog/keyframe/cmd/keyframe")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the broker: %w: %s", err, out)
	}
	return nil
}

// Options are what else is asked of a broker.
type Options struct {
	Flags []string
	Log   func(line string) // if not nil, gets each line of its log, in JSON
}

// Broker is a running process.
type Broker struct {
	Kafka   string        // address of the data plane
	State   string        // URL of the state plane
	Started time.Duration // from exec to the line that says where it listens

	cmd    *exec.Cmd
	output chan struct{} // closed when its standard error has ended
}

// Start serves a data directory on ports that the system chooses. The process is killed when ctx is done.
func Start(ctx context.Context, binary, dataDir string, o Options) (*Broker, error) {
	b := &Broker{output: make(chan struct{})}
	b.cmd = exec.CommandContext(ctx, binary, append([]string{"serve", "--data-dir", dataDir, "--kafka-addr", "127.0.0.1:0",
		"--state-addr", "127.0.0.1:0", "--log-format", "json"}, o.Flags...)...)
	b.cmd.Env = Environ()
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	lines := bufio.NewScanner(stderr)
	var said []string
	for b.Kafka == "" && lines.Scan() {
		said = append(said, lines.Text())
		o.Log(lines.Text())
		b.Kafka, b.State = logged(lines.Text(), "kafka_addr"), "http://"+logged(lines.Text(), "state_addr")
	}
	b.Started = time.Since(began)
	go func() { // ends with the process
		defer close(b.output)
		for lines.Scan() {
			o.Log(lines.Text())
		}
	}()
	if b.Kafka == "" {
		b.Kill()
		return nil, fmt.Errorf("the broker did not start: %s", strings.Join(said, "\n"))
	}
	return b, nil
}

// Environ is the environment of this process without the KEYFRAME_ variables: those are settings to a broker, which refuses the ones
// that it does not know, such as a test's own.
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

// Stop ends the process as an operator does, and waits for it. A process that had ended by itself, or ends badly, is an error.
func (b *Broker) Stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the broker had ended: %w", err)
	}
	kill := time.AfterFunc(stopMax, func() { _ = b.cmd.Process.Kill() })
	defer kill.Stop()
	<-b.output
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("the broker ended badly: %w", err)
	}
	return nil
}

// Kill ends the process as kill -9 does, and waits for it. It may be called again.
func (b *Broker) Kill() {
	if err := b.cmd.Process.Kill(); errors.Is(err, os.ErrProcessDone) && b.cmd.ProcessState != nil {
		return
	}
	<-b.output
	_ = b.cmd.Wait() // killed: its status says so
}
