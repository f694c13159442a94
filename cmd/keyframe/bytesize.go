package main

import (
	"fmt"
	"strconv"
	"strings"
)

// byteSize is a number of bytes, written with an optional binary unit: 64MiB, 512KiB, 1048576.
type byteSize int64

var _ interface {
	String() string
	Set(string) error
	Type() string
} = (*byteSize)(nil)

func byteUnits() []struct {
	name  string
	bytes int64
} {
	return []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

// Set implements pflag.Value.
func (b *byteSize) Set(s string) error {
	digits, factor := strings.TrimSpace(s), int64(1)
	for _, u := range byteUnits() {
		if rest, ok := strings.CutSuffix(digits, u.name); ok {
			digits, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf("%q is no size: write bytes or a unit, as in 64MiB", s)
	}
	*b = byteSize(n * factor)
	return nil
}

// String writes the largest unit that divides the size.
func (b byteSize) String() string {
	for _, u := range byteUnits() {
		if int64(b) >= u.bytes && int64(b)%u.bytes == 0 {
			return strconv.FormatInt(int64(b)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Type implements pflag.Value.
func (b *byteSize) Type() string { return "size" }
