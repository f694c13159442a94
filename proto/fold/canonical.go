package fold

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyframelog/keyframe/proto/delta"
)

// maxDepth bounds the nesting of a document. Sorting members moves a value once per level that it is in, so that this bounds what
// a hostile document costs, too.
const maxDepth = 256

// checkJSON reports what is wrong with a document, as a *delta.Refusal.
func checkJSON(value []byte) error {
	if err := checkDepth(value); err != nil {
		return err
	}
	if !jsontext.Value(value).IsValid() {
		return delta.Refuse("the value is not valid JSON: %v", syntaxError(value))
	}
	_, err := checkNumbers(value)
	return err
}

// syntaxError finds the words for what IsValid saw.
func syntaxError(value []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(value))
	if _, err := d.ReadValue(); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("it is empty")
		}
		return err
	}
	return errors.New("something follows the document")
}

// checkDepth checks the nesting of bytes that need not be JSON.
func checkDepth(value []byte) error {
	depth := 0
	for i := 0; i < len(value); {
		switch value[i] {
		case '"':
			i = stringEnd(value, i)
			continue
		case '{', '[':
			if depth++; depth > maxDepth {
				return delta.Refuse("the document is nested deeper than %d levels", maxDepth)
			}
		case '}', ']':
			depth--
		}
		i++
	}
	return nil
}

// checkNumbers checks the range of all numbers of a valid document, and reports whether all are spelled canonically.
func checkNumbers(value []byte) (canonical bool, err error) {
	canonical = true
	for i := 0; i < len(value); {
		begin, end := nextNumber(value, i)
		if number := value[begin:end]; begin < end && !isCanonicalNumber(number) {
			canonical = false
			if !inRange(number) {
				return false, delta.Refuse("the number %.40s is out of range", number)
			}
		}
		i = end
	}
	return canonical, nil
}

// nextNumber finds the first number at or behind i in a valid document: [begin, end), which is empty at the document's end.
func nextNumber(b []byte, i int) (begin, end int) {
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			i = stringEnd(b, i)
		case c == '-' || c >= '0' && c <= '9':
			return i, numberEnd(b, i)
		default:
			i++
		}
	}
	return i, i
}

// stringEnd is the position after the string that begins at i, or the end of b.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

func numberEnd(b []byte, i int) int {
	for i < len(b) && (b[i] >= '0' && b[i] <= '9' || b[i] == '-' || b[i] == '+' || b[i] == '.' || b[i] == 'e' || b[i] == 'E') {
		i++
	}
	return i
}

// canonicaliser makes canonical documents in memory that it reuses.
type canonicaliser struct {
	sorted  []byte
	out     []byte
	digits  []byte
	options []jsontext.Options
}

// formatOptions sort the members and escape strings as RFC 8785 says; numbers stay as they are.
func formatOptions() []jsontext.Options {
	return []jsontext.Options{
		jsontext.ReorderRawObjects(true), jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false),
		jsontext.SpaceAfterColon(false), jsontext.SpaceAfterComma(false),
	}
}

// canonical returns the canonical bytes of a document, valid until the next call. The error is a *delta.Refusal.
func (c *canonicaliser) canonical(document []byte) ([]byte, error) {
	value, err := c.format(document)
	if err != nil {
		return nil, err
	}
	if done, err := checkNumbers(value); done || err != nil {
		return value, err
	}
	c.out = c.appendCanonicalNumbers(c.out[:0], value)
	return c.out, nil
}

// format makes everything canonical but the numbers.
func (c *canonicaliser) format(document []byte) (jsontext.Value, error) {
	if err := checkDepth(document); err != nil {
		return nil, err
	}
	if c.options == nil {
		c.options = formatOptions()
	}
	value := jsontext.Value(append(c.sorted[:0], document...))
	if err := value.Format(c.options...); err != nil {
		return nil, delta.Refuse("the value is not valid JSON: %v", err)
	}
	c.sorted = value
	return value, nil
}

// numberGrowthMax bounds how much longer a document gets by being made canonical. Only numbers grow, at most from 1e20 to 21 digits.
const numberGrowthMax = 6

// canonicalLen is the length of a document's canonical bytes, counted without building them. The error is a *delta.Refusal.
func canonicalLen(document []byte) (int, error) {
	var c canonicaliser
	value, err := c.format(document)
	if err != nil {
		return 0, err
	}
	n := len(value)
	for i := 0; i < len(value); {
		begin, end := nextNumber(value, i)
		if begin < end {
			c.digits = append(c.digits[:0], value[begin:end]...)
			c.out = parseNumber(value[begin:end], c.digits).append(c.out[:0])
			n += len(c.out) - (end - begin)
		}
		i = end
	}
	return n, nil
}

func (c *canonicaliser) appendCanonicalNumbers(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		begin, end := nextNumber(b, i)
		dst = append(dst, b[i:begin]...)
		if begin < end {
			c.digits = append(c.digits[:0], b[begin:end]...)
			dst = parseNumber(b[begin:end], c.digits).append(dst)
		}
		i = end
	}
	return dst
}
