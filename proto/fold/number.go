package fold

import (
	"bytes"
	"strconv"
)

// number is the exact decimal value 0.DIGITS x 10^point, with the sign; digits have no zeros at either end, and none at all are 0.
type number struct {
	negative bool
	digits   []byte
	point    int
}

// Decimal exponents of IEEE 754 doubles: the largest is 1.8e308, the smallest 4.9e-324.
const (
	pointMax = 309
	pointMin = -323
)

// plainInteger reports whether a valid JSON number is an integer in its canonical spelling already.
func plainInteger(b []byte) bool {
	if len(b) > 0 && b[0] == '-' {
		if b = b[1:]; len(b) == 1 && b[0] == '0' {
			return false
		}
	}
	if len(b) > 21 {
		return false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// parseNumber reads a valid JSON number. An exponent that no int holds counts as far out of range.
func parseNumber(b []byte) number {
	var n number
	if b[0] == '-' {
		n.negative, b = true, b[1:]
	}
	exponent := 0
	if i := bytes.IndexAny(b, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(string(b[i+1:])); err != nil {
			exponent = 1 << 40
			if b[i+1] == '-' {
				exponent = -exponent
			}
		}
		b = b[:i]
	}
	whole, fraction, _ := bytes.Cut(b, []byte{'.'})
	digits := append(append(make([]byte, 0, len(b)), whole...), fraction...)
	significant := bytes.TrimLeft(digits, "0")
	n.point = len(whole) - (len(digits) - len(significant)) + exponent
	n.digits = bytes.TrimRight(significant, "0")
	if len(n.digits) == 0 {
		return number{}
	}
	return n
}

func (n number) inRange() bool {
	return len(n.digits) == 0 || n.point >= pointMin && n.point <= pointMax
}

// append writes the number as ECMAScript's Number::toString lays out digits and point.
func (n number) append(dst []byte) []byte {
	k := len(n.digits)
	if k == 0 {
		return append(dst, '0')
	}
	if n.negative {
		dst = append(dst, '-')
	}
	switch {
	case k <= n.point && n.point <= 21:
		dst = append(dst, n.digits...)
		return append(dst, "000000000000000000000"[:n.point-k]...)
	case 0 < n.point && n.point <= 21:
		dst = append(append(dst, n.digits[:n.point]...), '.')
		return append(dst, n.digits[n.point:]...)
	case -6 < n.point && n.point <= 0:
		dst = append(dst, "0."...)
		dst = append(dst, "000000"[:-n.point]...)
		return append(dst, n.digits...)
	}
	dst = append(dst, n.digits[0])
	if k > 1 {
		dst = append(append(dst, '.'), n.digits[1:]...)
	}
	dst = append(dst, 'e')
	if n.point > 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(n.point-1), 10)
}
