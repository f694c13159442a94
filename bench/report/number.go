package report

import (
	"math"
	"strconv"
)

// Quantity writes a number with three digits that count, or with all before the point, in groups.
func Quantity(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		return Grouped(int64(math.Round(v)))
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// Grouped writes a number in groups of three digits: 1,234,567.
func Grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var out []byte
	for i := range digits {
		if left := len(digits) - i; i > 0 && left%3 == 0 && digits[i-1] != '-' {
			out = append(out, ',')
		}
		out = append(out, digits[i])
	}
	return string(out)
}

// Ratio writes one with two or three digits.
func Ratio(v float64) string {
	switch {
	case v >= 100:
		return Grouped(int64(math.Round(v)))
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}
