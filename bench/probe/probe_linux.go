package probe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTicks are those of /proc/PID/stat in a second: USER_HZ, which is 100 on every architecture that Go has Linux for (proc(5)).
const clockTicks = 100

func (p Process) path(name string) string { return filepath.Join("/proc", strconv.Itoa(p.PID), name) }

// Fields of /proc/PID/stat, counted from the one behind the name (proc(5)).
const (
	statState   = 0
	statUser    = 11
	statKernel  = 12
	statStarted = 19
)

// stat is what /proc/PID/stat has behind the name. Errors: ErrNoProcess.
func (p Process) stat() ([]string, error) {
	stat, err := os.ReadFile(p.path("stat"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	// The name in parentheses may hold anything, blanks as well: the numbers follow the last one.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= statStarted {
		return nil, fmt.Errorf("probe: %s has %d fields", p.path("stat"), len(fields))
	}
	return fields, nil
}

// Alive says whether the process is there, and has not ended: one that its parent has not waited for yet has.
func (p Process) Alive() bool {
	fields, err := p.stat()
	return err == nil && fields[statState] != "Z" && fields[statState] != "X"
}

// Known says whether the system still has it in its list, alive or not.
func (p Process) Known() bool {
	_, err := p.stat()
	return err == nil
}

// Began is when it was started, to 10 ms; it may have been later by these. Errors: ErrNoProcess.
func (p Process) Began() (time.Time, error) {
	fields, err := p.stat()
	if err != nil {
		return time.Time{}, err
	}
	ticks, err := strconv.ParseInt(fields[statStarted], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("probe: %s: %w", p.path("stat"), err)
	}
	var sinceBoot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &sinceBoot); err != nil {
		return time.Time{}, fmt.Errorf("probe: %w", err)
	}
	return time.Now().Add(time.Duration(ticks)*time.Second/clockTicks - time.Duration(sinceBoot.Nano())), nil
}

// Usage reads what it has used. Errors: ErrNoProcess.
func (p Process) Usage() (Usage, error) {
	var u Usage
	fields, err := p.stat()
	if err != nil {
		return u, err
	}
	for _, f := range fields[statUser : statKernel+1] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, fmt.Errorf("probe: %s: %w", p.path("stat"), err)
		}
		u.CPU += time.Duration(ticks) * time.Second / clockTicks
	}
	if err := p.numbers("status", map[string]*int64{"VmRSS": &u.RSS, "VmHWM": &u.PeakRSS}); err != nil {
		return u, err
	}
	u.RSS, u.PeakRSS = u.RSS<<10, u.PeakRSS<<10
	if err := p.numbers("io", map[string]*int64{"read_bytes": &u.Read, "write_bytes": &u.Written}); err != nil && !errors.Is(err, os.ErrPermission) {
		return u, err
	}
	return u, nil
}

// numbers reads lines "name: number ...".
func (p Process) numbers(file string, into map[string]*int64) error {
	data, err := os.ReadFile(p.path(file))
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		to := into[name]
		if to == nil || len(fields) == 0 {
			continue
		}
		if *to, err = strconv.ParseInt(fields[0], 10, 64); err != nil {
			return fmt.Errorf("probe: %s: %w", p.path(file), err)
		}
	}
	return nil
}

// ResetPeak has PeakRSS begin anew. Errors: the system's, where the process belongs to another user.
func (p Process) ResetPeak() error {
	return os.WriteFile(p.path("clear_refs"), []byte("5"), 0)
}

// Command is how the process was started.
func (p Process) Command() ([]string, error) {
	line, err := os.ReadFile(p.path("cmdline"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	return strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), nil
}

// Listening returns the process that listens on a TCP port. Errors: ErrNoProcess.
func Listening(port int) (Process, error) {
	socket, err := listener(port)
	if err != nil {
		return Process{}, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return Process{}, err
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == socket { // others end meanwhile, or are not ours to see
			pid, err := strconv.Atoi(strings.Split(link, "/")[2])
			return Process{pid}, err
		}
	}
	return Process{}, fmt.Errorf("%w: who listens on port %d", ErrNoProcess, port)
}

// listener is the socket that listens on a port, as links of file descriptors name it.
func listener(port int) (string, error) {
	const listen = "0A" // TCP_LISTEN
	end := fmt.Sprintf(":%04X", port)
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.Open(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return "", fmt.Errorf("probe: %w", err)
		}
		lines := bufio.NewScanner(table)
		for lines.Scan() {
			if f := strings.Fields(lines.Text()); len(f) > 9 && f[3] == listen && strings.HasSuffix(f[1], end) {
				return "socket:[" + f[9] + "]", table.Close()
			}
		}
		if err := errors.Join(lines.Err(), table.Close()); err != nil {
			return "", fmt.Errorf("probe: %w", err)
		}
	}
	return "", fmt.Errorf("%w: nobody listens on port %d", ErrNoProcess, port)
}
