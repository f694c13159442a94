// Package pattern compiles the regular expressions that clients send. They are RE2, so matching takes no longer than the product of the
// expression and the text; what is left to bound is the expression: x{1000} 3,000 times is 21 KB to send and 130 MB to keep.
//
//	re, err := pattern.Compile("orders-.*") // matches whole names
package pattern

import (
	"errors"
	"regexp"
	"regexp/syntax"
)

const (
	lengthMax = 1 << 14 // of an expression, in bytes
	sizeMax   = 1 << 16 // when it is written out without repetitions, in characters and bounds of classes
)

// ErrTooLarge: the expression is longer than any that somebody means.
var ErrTooLarge = errors.New("the expression is too large")

// Compile compiles an expression that has to match a whole text. Errors: ErrTooLarge, *syntax.Error.
func Compile(expression string) (*regexp.Regexp, error) {
	if len(expression) > lengthMax {
		return nil, ErrTooLarge
	}
	parsed, err := syntax.Parse(expression, syntax.Perl) // alone first: the error is about what the user wrote
	if err != nil {
		return nil, err
	}
	if size(parsed) > sizeMax {
		return nil, ErrTooLarge
	}
	return regexp.Compile(`^(?:` + parsed.String() + `)$`) // as it was understood: an open \Q would reach beyond the text
}

// size is about how large the program of an expression is, or more than sizeMax.
func size(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += size(sub)
		if n > sizeMax {
			return sizeMax + 1
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1) // at most 1,000
	}
	return min(n, sizeMax+1)
}
