package fold

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyframelog/keyframe/proto/delta"
)

// maxDepth bounds the nesting of a document.
const maxDepth = 1000

// checkJSON reports what is wrong with a document, as a *delta.Refusal.
func checkJSON(value []byte) error {
	if !jsontext.Value(value).IsValid() {
		return delta.Refuse("the value is not valid JSON: %v", syntaxError(value))
	}
	return checkLimits(value)
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

// checkLimits checks depth and numbers of a valid document.
func checkLimits(value []byte) error {
	depth := 0
	for i := 0; i < len(value); {
		switch c := value[i]; {
		case c == '"':
			i = stringEnd(value, i)
			continue
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return delta.Refuse("the document is nested deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == '-' || c >= '0' && c <= '9':
			end := numberEnd(value, i)
			if !plainInteger(value[i:end]) && !parseNumber(value[i:end]).inRange() {
				return delta.Refuse("the number %.40s is out of range", value[i:end])
			}
			i = end
			continue
		}
		i++
	}
	return nil
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
	sorted []byte
	out    []byte
}

// canonical returns the canonical bytes of a document, valid until the next call. The error is a *delta.Refusal.
func (c *canonicaliser) canonical(document []byte) ([]byte, error) {
	value := jsontext.Value(append(c.sorted[:0], document...))
	// Members are sorted and strings escaped as RFC 8785 says; numbers stay as they are.
	err := value.Format(jsontext.ReorderRawObjects(true), jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false),
		jsontext.SpaceAfterColon(false), jsontext.SpaceAfterComma(false))
	if err != nil {
		return nil, delta.Refuse("the value is not valid JSON: %v", err)
	}
	c.sorted = value
	if err := checkLimits(value); err != nil {
		return nil, err
	}
	if !hasOddNumber(value) {
		return value, nil
	}
	c.out = appendCanonicalNumbers(c.out[:0], value)
	return c.out, nil
}

// hasOddNumber reports whether any number needs another spelling; most documents have none.
func hasOddNumber(b []byte) bool {
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			i = stringEnd(b, i)
		case c == '-' || c >= '0' && c <= '9':
			end := numberEnd(b, i)
			if !plainInteger(b[i:end]) {
				return true
			}
			i = end
		default:
			i++
		}
	}
	return false
}

func appendCanonicalNumbers(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			end := stringEnd(b, i)
			dst = append(dst, b[i:end]...)
			i = end
		case c == '-' || c >= '0' && c <= '9':
			end := numberEnd(b, i)
			dst = parseNumber(b[i:end]).append(dst)
			i = end
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}
