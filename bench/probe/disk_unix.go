//go:build unix

package probe

import (
	"io/fs"
	"syscall"
)

// allocated is in bytes: a block of stat(2) has 512.
func allocated(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return info.Size()
}
