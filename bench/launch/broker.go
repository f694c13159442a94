package launch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/broker/process"
)

const (
	startMax  = 2 * time.Minute
	stopMax   = time.Minute
	unlistMax = 10 * time.Second
	// grain is how often it is looked for what no event tells: whether a port is listened on, whether another's child has ended.
	grain = time.Millisecond
)

// Broker is one that was started, and has answered.
type Broker struct {
	Addr    string        // of the Kafka protocol
	Took    time.Duration // from the start of its process to its first answer
	Process probe.Process
	port    int

	cmd   *exec.Cmd
	ended chan struct{} // closed when the command has ended
	err   error         // of the command; to be read once ended is closed
	said  *tail
}

// Start starts a broker on a directory, and waits for its first answer. Errors: the command's, with what it printed last; no answer within two minutes;
// probe.ErrUnsupported where processes cannot be looked at.
func Start(ctx context.Context, c Command, dir string) (*Broker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	words := c.fill(dir, port)
	b := &Broker{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), port: port, cmd: exec.Command(words[0], words[1:]...), ended: make(chan struct{}), said: &tail{}}
	b.cmd.Env, b.cmd.Stdout, b.cmd.Stderr = process.Environ(), b.said, b.said
	// A group of its own: what is interrupted on a terminal still ends its brokers in order, and nothing that a script has started is left behind.
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.cmd.WaitDelay = time.Second // a broker in the background may hold the pipe
	began := time.Now()
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the command
		defer close(b.ended)
		if b.err = b.cmd.Wait(); errors.Is(b.err, exec.ErrWaitDelay) {
			b.err = nil
		}
	}()
	if err := b.started(ctx, began); err != nil {
		b.killGroup()
		<-b.ended
		return nil, fmt.Errorf("start of %s: %w: %s", words[0], err, b.said)
	}
	return b, nil
}

// started waits for the first answer, and finds out whose it was.
func (b *Broker) started(ctx context.Context, began time.Time) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	if err := b.answered(ctx); err != nil {
		return err
	}
	b.Took = time.Since(began)
	if b.Process, err = probe.Listening(b.port); err != nil {
		return err
	}
	if b.Process.PID == b.cmd.Process.Pid {
		return nil
	}
	answered := began.Add(b.Took)
	if began, err = b.Process.Began(); err == nil {
		b.Took = answered.Sub(began)
	}
	return err
}

// answered waits until ApiVersions is answered.
func (b *Broker) answered(ctx context.Context) error {
	ended := b.ended
	for {
		if ok, err := asked(ctx, b.Addr); ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", ctx.Err())
		case <-ended:
			if b.err != nil {
				return b.err
			}
			ended = nil // it has started one in the background
		case <-time.After(grain):
		}
	}
}

// Open makes a target of it, with a state plane where one answers at the next port.
func (b *Broker) Open(ctx context.Context) (*target.Target, error) {
	cfg := target.Config{Brokers: []string{b.Addr}}
	ask, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port+1)); target.HasStatePlane(ask, url) {
		cfg.StateURL = url
	}
	return target.Open(ctx, cfg)
}

// Stop ends it as an operator does, and waits for it. One that does not end within a minute is killed, which is an error.
func (b *Broker) Stop() error {
	if !b.Process.Alive() {
		b.Kill()
		return fmt.Errorf("the broker had ended: %s", b.said)
	}
	if err := syscall.Kill(b.Process.PID, syscall.SIGTERM); err != nil {
		return err
	}
	if !b.gone(stopMax) {
		b.Kill()
		return fmt.Errorf("the broker did not end within %s: %s", stopMax, b.said)
	}
	<-b.ended
	return b.ending()
}

// ending is how the command ended that was asked to: that the signal was its end is as good as any.
func (b *Broker) ending() error {
	var exit *exec.ExitError
	if errors.As(b.err, &exit) {
		const byShell = 128 + int(syscall.SIGTERM) // as a shell, or a JVM, tells it
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGTERM || exit.ExitCode() == byShell {
			return nil
		}
		return fmt.Errorf("the broker ended badly: %w: %s", b.err, b.said)
	}
	return b.err
}

// Kill ends it as kill -9 does, and waits for it. It may be called again.
func (b *Broker) Kill() {
	b.killGroup()
	b.gone(stopMax)
	<-b.ended
}

// killGroup ends whatever the command has started; nothing is left of it if that fails.
func (b *Broker) killGroup() { _ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) }

// gone waits until the process is, which need not be a child of this one. Who starts it again may look in the system's list: whoever is its parent has
// a moment to take it out.
func (b *Broker) gone(most time.Duration) bool {
	ended := until(most, func() bool { return !b.Process.Alive() })
	if ended {
		until(unlistMax, func() bool { return !b.Process.Known() })
	}
	return ended
}

// until waits for something that no event tells. It returns false where that has not come in time.
func until(most time.Duration, is func() bool) bool {
	tick := time.NewTicker(grain)
	defer tick.Stop()
	for began := time.Now(); !is(); <-tick.C {
		if time.Since(began) > most {
			return false
		}
	}
	return true
}

// tail is what was printed last.
type tail struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

const tailBytes = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-tailBytes):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
