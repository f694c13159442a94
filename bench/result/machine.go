package result

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Machine is where a benchmark ran, and by what it was run.
type Machine struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	CPU         string `json:"cpu,omitempty"`
	Cores       int    `json:"cores"`
	MemoryBytes int64  `json:"memory_bytes,omitempty"`
	Kernel      string `json:"kernel,omitempty"`
	Load        string `json:"load,omitempty"` // averages before it began: a machine that others use tells it here
	Go          string `json:"go"`
	Client      string `json:"client"` // version of the Kafka client
	Keyframe    string `json:"keyframe"`
}

// ThisMachine reads what the system tells; what it does not is left out.
func ThisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(), Keyframe: "devel", Client: "franz-go"}
	m.CPU = field("/proc/cpuinfo", "model name")
	if kib, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal"), " "); kib != "" {
		n, _ := strconv.ParseInt(kib, 10, 64) // 0 is left out
		m.MemoryBytes = n << 10
	}
	m.Kernel = text("/proc/sys/kernel/osrelease")
	if averages := strings.Fields(text("/proc/loadavg")); len(averages) >= 3 {
		m.Load = strings.Join(averages[:3], " ")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		m.versions(info)
	}
	return m
}

func (m *Machine) versions(info *debug.BuildInfo) {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		m.Keyframe = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && m.Keyframe == "devel" {
			m.Keyframe = "devel " + s.Value[:min(12, len(s.Value))]
		}
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/twmb/franz-go" {
			m.Client = "franz-go " + d.Version
		}
	}
}

func text(file string) string {
	data, _ := os.ReadFile(file) // what is not told is left out
	return strings.TrimSpace(string(data))
}

// field is the value of the first line "name : value".
func field(file, name string) string {
	for line := range strings.Lines(text(file)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
