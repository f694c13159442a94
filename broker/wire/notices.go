package wire

import (
	"log/slog"
	"sync"
	"time"
)

// noticesPerSecond bounds the lines that peers can have us log: a port scan, or clients that come again and again, must not fill the disk.
const noticesPerSecond = 10

// notices bounds log lines of one kind by time. The metrics count what they leave out.
type notices struct {
	now func() time.Time

	mu      sync.Mutex
	second  int64 // of the lines in said
	said    int
	leftOut int // since the last line
}

// warn logs a line, or counts it for the next second's first one.
func (n *notices) warn(log *slog.Logger, text string, args ...any) {
	if leftOut, ok := n.take(); ok {
		if leftOut > 0 {
			args = append(args, "left_out_before", leftOut)
		}
		log.Warn(text, args...)
	}
}

func (n *notices) take() (leftOut int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if second := n.now().Unix(); second != n.second {
		n.second, n.said = second, 0
	}
	if n.said == noticesPerSecond {
		n.leftOut++
		return 0, false
	}
	n.said++
	leftOut, n.leftOut = n.leftOut, 0
	return leftOut, true
}
