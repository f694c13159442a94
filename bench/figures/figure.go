package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// measured are metrics of benchmarks by their names and units.
type measured map[string]map[string]float64

// figure is one number that is promised.
type figure struct {
	what        string
	bench, unit string  // which metric of which benchmark
	bound       float64 // 0: it is only told
	least       bool    // the bound is what it must reach, not what it may cost
	none        bool    // there must be none
	whole       string  // the same of loading the whole frame, a metric of the same benchmark; "": there is no such thing
}

// line is its row in the table. kept: it is within its bound.
func (f *figure) line(m measured) (line string, kept bool, err error) {
	got, found := m[f.bench][f.unit]
	if !found {
		return "", false, fmt.Errorf("%s has no metric %s", f.bench, f.unit)
	}
	bound, verdict, ok := "", "", true
	switch {
	case f.least:
		bound, ok = ">= "+quantity(f.bound, f.unit), got >= f.bound
	case f.bound > 0 || f.none:
		bound, ok = "<= "+quantity(f.bound, f.unit), got <= f.bound
	}
	if !ok {
		verdict = "MISSED"
	}
	whole := ""
	if f.whole != "" {
		v, found := m[f.bench][f.whole]
		if !found {
			return "", false, fmt.Errorf("%s has no metric %s", f.bench, f.whole)
		}
		whole = quantity(v, f.unit)
	}
	return strings.Join([]string{f.what, quantity(got, f.unit), bound, whole, verdict}, "\t"), ok, nil
}

// quantity writes a number for a person.
func quantity(v float64, unit string) string {
	if v < 100 && v != math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
	}
	return thousands(int64(math.Round(v))) + " " + unit
}

func thousands(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
