package broker

import (
	"math"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestProcessMemory(t *testing.T) {
	machine := "MemFree:  1 kB\nMemTotal:       25165824 kB\nMemAvailable: 2 kB\n"
	for _, c := range []struct {
		name    string
		files   map[string]string
		goLimit int64
		want    int64
	}{
		{"nothing is told", nil, math.MaxInt64, 0},
		{"only Go's limit", nil, 3 << 30, 3 << 30},
		{"a machine without limits", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/user.slice/memory.max": "max\n"},
			math.MaxInt64, 24 << 30},
		{"a group of version 2", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "536870912\n",
			"sys/fs/cgroup/a/memory.max": "1073741824\n"}, math.MaxInt64, 512 << 20},
		{"a group inside a smaller one", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n",
			"sys/fs/cgroup/a/memory.max": "1073741824\n"}, math.MaxInt64, 1 << 30},
		{"a container whose group is named from outside", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/../../pod7\n",
			"sys/fs/cgroup/memory.max": "2147483648\n"}, math.MaxInt64, 2 << 30},
		{"a group of version 1", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "9:cpu,cpuacct:/c\n4:memory:/c\n0::/\n",
			"sys/fs/cgroup/memory/c/memory.limit_in_bytes": "536870912\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, math.MaxInt64, 512 << 20},
		{"Go's limit below all", map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2147483648\n"}, 1 << 30, 1 << 30},
		{"files of another shape", map[string]string{"proc/meminfo": "no", "proc/self/cgroup": "\n:\nx", "sys/fs/cgroup/memory.max": "7"}, math.MaxInt64, 0},
	} {
		root := fstest.MapFS{}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		require.Equal(t, c.want, memoryOf(root, c.goLimit), c.name)
	}
}

func TestIntervalMemoryIsAShareOfTheMemory(t *testing.T) {
	require.EqualValues(t, 256<<20, intervalMemory(0), "not known")
	require.EqualValues(t, 64<<20, intervalMemory(512<<20))
	require.EqualValues(t, 512<<20, intervalMemory(8<<30))
	require.EqualValues(t, 1<<30, intervalMemory(256<<30))
}
