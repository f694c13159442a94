// Package result is what a benchmark says: figures, each with its unit and which way is better, and beside them everything that is needed to
// repeat it: workload, config, target, durability, machine, versions, raw series. Its JSON is the output of the command line and the data of a report.
package result

import (
	"time"
)

// Schema is the version of the JSON. It grows by one where a reader of an older one would be wrong.
const Schema = 1

// Result is one run of one workload against one target.
type Result struct {
	Schema   int       `json:"schema"`
	Workload string    `json:"workload"`
	Config   any       `json:"config"` // the workload's own, with its defaults filled in
	Target   Target    `json:"target"`
	Machine  Machine   `json:"machine"`
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"` // all of it, with what is not measured
	Figures  []Figure  `json:"figures"` // the first is what the workload is about
	Latency  []Latency `json:"latency,omitempty"`
	Series   []Series  `json:"series,omitempty"`
}

// Target is what the workload ran against.
type Target struct {
	Name       string   `json:"name"`
	Software   string   `json:"software"` // and version, as far as the broker tells
	Brokers    []string `json:"brokers"`
	StateURL   string   `json:"state_url,omitempty"`
	Durability string   `json:"durability"` // what an acknowledgement means here, in words
	Command    []string `json:"command,omitempty"`
}

// Better is which way a figure is better.
type Better string

// A figure that is neither is told, and not compared.
const (
	Higher Better = "higher"
	Lower  Better = "lower"
)

// Figure is one number.
type Figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Better Better  `json:"better,omitempty"`
}

// Series is a quantity over time, or over another.
type Series struct {
	Name  string    `json:"name"`
	Plot  string    `json:"plot,omitempty"` // into which it is drawn, with others of that plot; "": one of its own
	X     []float64 `json:"x"`
	Y     []float64 `json:"y"`
	XUnit string    `json:"x_unit"`
	YUnit string    `json:"y_unit"`
}

// New begins the result of a run.
func New(workload string, config any) *Result {
	return &Result{Schema: Schema, Workload: workload, Config: config, Machine: ThisMachine(), Began: time.Now().UTC()}
}

// End says what it ran against, and how long it took.
func (r *Result) End(t Target) *Result {
	r.Target, r.Seconds = t, time.Since(r.Began).Seconds()
	return r
}

// Add notes a figure.
func (r *Result) Add(name string, value float64, unit string, better Better) {
	r.Figures = append(r.Figures, Figure{name, value, unit, better})
}

// Figure returns one by its name.
func (r *Result) Figure(name string) (Figure, bool) {
	for _, f := range r.Figures {
		if f.Name == name {
			return f, true
		}
	}
	return Figure{}, false
}
