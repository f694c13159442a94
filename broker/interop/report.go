package main

import (
	"slices"
	"strconv"
	"strings"
)

// report is what one client's driver said.
type report struct {
	Client  string   `json:"client"`
	Title   string   `json:"title"`
	Version string   `json:"version,omitempty"`
	Missing string   `json:"missing,omitempty"` // why it was not run
	Seconds float64  `json:"seconds"`
	Results []result `json:"results"`

	own bool // what it is asked for are capabilities of its own, none that every client may have
}

// result of one capability.
type result struct {
	Capability string `json:"capability"`
	Result     string `json:"result"` // pass, fail or skip
	Millis     int64  `json:"millis"`
	Reason     string `json:"reason,omitempty"`
}

// take reads a line of a driver's output; what is none of ours is passed over.
func (r *report) take(line string) {
	fields := strings.SplitN(line, "\t", 5)
	if len(fields) < 4 || fields[0] != "interop" {
		return
	}
	fields = append(fields, "")
	if fields[1] == "version" {
		r.Version = fields[4]
		return
	}
	millis, err := strconv.ParseInt(fields[3], 10, 64)
	one := result{Capability: fields[1], Result: fields[2], Millis: millis, Reason: fields[4]}
	if err != nil || !slices.Contains([]string{"pass", "fail", "skip"}, one.Result) {
		one.Result, one.Reason = "fail", "the driver printed "+strconv.Quote(line)
	}
	if one.Result != "pass" && one.Reason == "" {
		one.Reason = "no reason given"
	}
	r.Results = append(r.Results, one)
}

// failed adds a failure for each capability that the driver said nothing of.
func (r report) failed(wanted []string, why string) report {
	for _, c := range wanted {
		if r.of(c) == nil {
			r.Results = append(r.Results, result{Capability: c, Result: "fail", Reason: why})
		}
	}
	return r
}

func (r *report) of(capability string) *result {
	for i := range r.Results {
		if r.Results[i].Capability == capability {
			return &r.Results[i]
		}
	}
	return nil
}

func count(reports []report) (passed, failed, skipped, missing int) {
	for _, r := range reports {
		if r.Missing != "" {
			missing++
		}
		for _, one := range r.Results {
			switch one.Result {
			case "pass":
				passed++
			case "fail":
				failed++
			case "skip":
				skipped++
			}
		}
	}
	return passed, failed, skipped, missing
}
