package fold

import (
	"bytes"
	"math"
	"strconv"
)

// number is the exact decimal value 0.DIGITS x 10^point, with the sign; digits have no zeros at either end, and none at all are 0.
type number struct {
	negative bool
	digits   []byte
	point    int
}

// Decimal points of the IEEE 754 doubles that are farthest from and nearest to zero: 1.8e308 and 4.9e-324.
const (
	pointMax = 309
	pointMin = -323

	// pointFixedMax and pointFixedMin bound what is written without an exponent, as in ECMAScript.
	pointFixedMax = 21
	pointFixedMin = -5

	zeros = "000000000000000000000"
)

// isCanonicalNumber recognises, without taking them apart, valid JSON numbers in their canonical spelling. It may answer false for
// one with an exponent, which few documents have.
func isCanonicalNumber(b []byte) bool {
	digits := b
	if b[0] == '-' {
		digits = b[1:]
	}
	dot := -1
	for i, c := range digits {
		switch {
		case c == '.':
			dot = i
		case c < '0' || c > '9':
			return false
		}
	}
	switch {
	case dot < 0:
		return len(digits) <= pointFixedMax && (digits[0] != '0' || len(b) == 1)
	case digits[len(digits)-1] == '0' || dot > pointFixedMax:
		return false
	}
	return digits[0] != '0' || !bytes.HasPrefix(digits[dot+1:], []byte(zeros[:1-pointFixedMin]))
}

// isSurelyInRange recognises numbers that are so short that no double of their size is infinite or zero.
func isSurelyInRange(b []byte) bool { return len(b) <= 300 && !bytes.ContainsAny(b, "eE") }

// parseNumber takes a valid JSON number apart; its digits are put into buffer's memory.
func parseNumber(b, buffer []byte) number {
	var n number
	if b[0] == '-' {
		n.negative, b = true, b[1:]
	}
	exponent := 0
	if i := bytes.IndexAny(b, "eE"); i >= 0 {
		exponent = parseExponent(b[i+1:])
		b = b[:i]
	}
	whole, fraction, _ := bytes.Cut(b, []byte{'.'})
	digits := append(append(buffer[:0], whole...), fraction...)
	significant := bytes.TrimLeft(digits, "0")
	n.point = len(whole) - (len(digits) - len(significant)) + exponent
	n.digits = bytes.TrimRight(significant, "0")
	if len(n.digits) == 0 {
		return number{}
	}
	return n
}

// parseExponent saturates far beyond what the digits of any document can make up for.
func parseExponent(b []byte) int {
	const most = 1<<31 - 1
	sign := 1
	if b[0] == '+' || b[0] == '-' {
		if b[0] == '-' {
			sign = -1
		}
		b = b[1:]
	}
	n := int64(0)
	for _, c := range b {
		n = min(n*10+int64(c-'0'), most)
	}
	return sign * int(n)
}

// inRange reports whether the nearest double to a valid JSON number is finite, and is zero only where the number is.
func inRange(b []byte) bool {
	if isSurelyInRange(b) {
		return true
	}
	var buffer [64]byte
	n := parseNumber(b, buffer[:])
	switch {
	case len(n.digits) == 0:
		return true
	case n.point > pointMax || n.point < pointMin:
		return false
	case n.point == pointMax || n.point == pointMin:
		f, err := strconv.ParseFloat(string(b), 64)
		return err == nil && f != 0 && !math.IsInf(f, 0)
	}
	return true
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
	case k <= n.point && n.point <= pointFixedMax:
		dst = append(dst, n.digits...)
		return append(dst, zeros[:n.point-k]...)
	case 0 < n.point && n.point <= pointFixedMax:
		dst = append(append(dst, n.digits[:n.point]...), '.')
		return append(dst, n.digits[n.point:]...)
	case pointFixedMin <= n.point && n.point <= 0:
		dst = append(dst, "0."...)
		dst = append(dst, zeros[:-n.point]...)
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
