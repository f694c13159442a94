package broker

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// Bounds of the memory of open intervals where the configuration names none, in bytes.
const (
	minIntervalMemory     = 64 << 20
	maxIntervalMemory     = 1 << 30
	unknownIntervalMemory = 256 << 20 // where the system does not tell what there is
)

// intervalMemory is a sixteenth of what the process may have. Keys that change again before their interval is folded are folded once, so that more
// memory costs less CPU time until the state fits; what is folded, its rows on the way to the disk and what the collector has yet to free take about twice as
// much again.
func intervalMemory(available int64) int64 {
	if available == 0 {
		return unknownIntervalMemory
	}
	return min(max(available/16, minIntervalMemory), maxIntervalMemory)
}

// processMemory is the memory that this process may have, in bytes; 0 where the system does not tell.
func processMemory() int64 {
	return memoryOf(os.DirFS("/"), debug.SetMemoryLimit(-1))
}

// memoryOf is the least of the machine's memory, the limits of the process's control group and of those around it, and Go's own (GOMEMLIMIT,
// math.MaxInt64 for none), in bytes; 0 if none of them is known. Linux tells, below root; see proc(5) and the kernel's cgroup-v2 and cgroup-v1/memory.
func memoryOf(root fs.FS, goLimit int64) int64 {
	least := goLimit
	lower := func(n int64, err error) {
		if err == nil && n > 0 {
			least = min(least, n)
		}
	}
	lower(totalMemory(root))
	for _, file := range controlGroupLimits(root) {
		lower(number(root, file))
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

func totalMemory(root fs.FS) (int64, error) {
	data, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "MemTotal:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	return n << 10, err
}

// controlGroupLimits are the files that may hold a limit of this process: each group limits those inside it. In a container the group's own path
// may be seen from outside, where no such file is; then the root's counts.
func controlGroupLimits(root fs.FS) (files []string) {
	data, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		dir, file := "", ""
		switch {
		case id == "0" && controllers == "":
			dir, file = "sys/fs/cgroup", "memory.max"
		case strings.Contains(","+controllers+",", ",memory,"):
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			files = append(files, path.Join(dir, group, file))
			if group == "/" {
				break
			}
		}
	}
	return files
}

// number reads a file of one number; "max", for no limit, is none.
func number(root fs.FS, file string) (int64, error) {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}
