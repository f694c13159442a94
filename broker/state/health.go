package state

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// livez answers as long as the process serves requests at all.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// readyz answers 200 when the broker has started, its conditions hold, and every partition is being folded; else 503. The
// body has a line for each condition that does not hold.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	var failed []string
	select {
	case <-s.started:
	default:
		failed = append(failed, "start: not finished")
	}
	select {
	case <-s.closing:
		failed = append(failed, "shutdown: under way")
	default:
	}
	for _, c := range s.cfg.Ready {
		if err := c.Check(); err != nil {
			failed = append(failed, c.Name+": "+err.Error())
		}
	}
	for _, err := range s.cfg.Keyframer.Failures() {
		failed = append(failed, "keyframer: "+err.Error())
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(failed) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, strings.Join(failed, "\n"))
		return
	}
	fmt.Fprintln(w, "ok")
}

type serverMetrics struct {
	refusedScans, refusedHosts prometheus.Counter
	refusedWatches, frameBytes prometheus.Counter
	watches                    prometheus.Gauge
	waits                      *prometheus.CounterVec
}

func newServerMetrics(r prometheus.Registerer) *serverMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "keyframe_state_" + name, Help: help})
	}
	m := &serverMetrics{
		refusedScans:   counter("scans_refused_total", "Scans refused because as many were running as may."),
		refusedHosts:   counter("hosts_refused_total", "Requests refused for a foreign Host or Origin."),
		refusedWatches: counter("watches_refused_total", "Watches refused because as many were open as may."),
		watches:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "keyframe_state_watches", Help: "Open watches."}),
		frameBytes:     counter("frame_bytes_total", "Bytes of key frames sent, before compression."),
		waits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyframe_state_waits_total", Help: "Waits of reads for the keyframer, by result (reached, behind).",
		}, []string{"result"}),
	}
	if r != nil {
		r.MustRegister(m.refusedScans, m.refusedHosts, m.refusedWatches, m.watches, m.frameBytes, m.waits)
	}
	return m
}
