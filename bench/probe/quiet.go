package probe

import (
	"context"
	"fmt"
	"time"
)

// Quiet waits until the process has done nothing to speak of for a while, and returns how long before that it was: what it had to do after its last
// request took so long. Less than a twentieth of one core is nothing. Errors: ErrNoProcess, the context's.
func (p Process) Quiet(ctx context.Context, while time.Duration) (took time.Duration, err error) {
	const looks = 4
	began := time.Now()
	tick := time.NewTicker(while / looks)
	defer tick.Stop()
	type look struct {
		at  time.Time
		cpu time.Duration
	}
	var seen []look
	for {
		u, err := p.Usage()
		if err != nil {
			return 0, err
		}
		seen = append(seen, look{time.Now(), u.CPU})
		if n := len(seen); n > looks {
			from, to := seen[n-1-looks], seen[n-1]
			if to.cpu-from.cpu < to.at.Sub(from.at)/20 {
				return from.at.Sub(began), nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("the process is busy still: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
