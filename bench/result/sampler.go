package result

import (
	"time"
)

// Sampler reads a counter at a steady pace in the background, and makes a series of rates of it.
type Sampler struct {
	read  func() float64
	began time.Time
	stop  chan struct{}
	done  chan struct{}
	at    []time.Duration
	value []float64
}

// Sample begins to read.
func Sample(every time.Duration, read func() float64) *Sampler {
	s := &Sampler{read: read, began: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	go s.run(every)
	return s
}

func (s *Sampler) run(every time.Duration) {
	defer close(s.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	s.look()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.look()
		}
	}
}

func (s *Sampler) look() {
	s.value = append(s.value, s.read())
	s.at = append(s.at, time.Since(s.began))
}

// end waits until nothing is read any more.
func (s *Sampler) end() {
	close(s.stop)
	<-s.done
}

// Rates ends the sampling: how much the counter grew in a second, at each second since the beginning.
func (s *Sampler) Rates(name, unit string) Series {
	s.end()
	out := Series{Name: name, XUnit: "s", YUnit: unit}
	for i := 1; i < len(s.at); i++ {
		took := (s.at[i] - s.at[i-1]).Seconds()
		out.X = append(out.X, s.at[i].Seconds())
		out.Y = append(out.Y, (s.value[i]-s.value[i-1])/took)
	}
	return out
}

// Values ends the sampling: what was read.
func (s *Sampler) Values(name, unit string) Series {
	s.end()
	out := Series{Name: name, XUnit: "s", YUnit: unit, Y: s.value}
	for _, at := range s.at {
		out.X = append(out.X, at.Seconds())
	}
	return out
}
