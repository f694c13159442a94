package fold

import (
	"bytes"
	"slices"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"
)

// appendMerged appends the result of a merge patch (RFC 7396) to dst. Both documents are canonical, so that their members are sorted
// and one walk over both makes a canonical result; target nil means that there is none. ok is false where bytes turn out not to be
// canonical. The time is linear in both documents: no value is passed twice, however deep the objects.
func appendMerged(dst, target, patch []byte) (merged []byte, ok bool) {
	if len(patch) == 0 {
		return nil, false
	}
	if patch[0] != '{' {
		return append(dst, patch...), true
	}
	t, p := cursor{b: target}, cursor{b: patch}
	if !t.atObject() {
		t = cursor{b: []byte("{}")}
	}
	dst = appendMergedObjects(dst, &t, &p)
	return dst, t.passed() && p.passed()
}

// appendMergedObjects merges the object at p into the object at t and moves both behind them. It descends no deeper than the patch.
func appendMergedObjects(dst []byte, t, p *cursor) []byte {
	dst = append(dst, '{')
	begin := len(dst)
	t.at++
	p.at++
	old, name := t.member(), p.member()
	for old != nil || name != nil {
		order := compareMembers(old, name)
		if order < 0 {
			dst = append(appendName(dst, begin, old), t.value()...)
			old = t.member()
			continue
		}
		dst = appendMergedMember(dst, begin, name, t, p, order == 0)
		if order == 0 {
			old = t.member()
		}
		name = p.member()
	}
	return append(dst, '}')
}

// appendMergedMember merges one value of the patch, and moves p, and t where it has the member too, behind their values.
func appendMergedMember(dst []byte, begin int, name []byte, t, p *cursor, both bool) []byte {
	if p.atObject() {
		dst = appendName(dst, begin, name)
		if both && t.atObject() {
			return appendMergedObjects(dst, t, p)
		}
		if both {
			t.value()
		}
		none := cursor{b: []byte("{}")}
		return appendMergedObjects(dst, &none, p)
	}
	if both {
		t.value()
	}
	value := p.value()
	if string(value) == "null" { // removes, or was never there
		return dst
	}
	return append(appendName(dst, begin, name), value...)
}

// appendName appends the member's name, quotes included, behind what stands since begin.
func appendName(dst []byte, begin int, name []byte) []byte {
	if len(dst) > begin {
		dst = append(dst, ',')
	}
	return append(append(dst, name...), ':')
}

// cursor walks a canonical document. Bytes that are not one make it malformed; then it has no more members.
type cursor struct {
	b         []byte
	at        int
	malformed bool
}

func (c *cursor) atObject() bool { return c.at < len(c.b) && c.b[c.at] == '{' }

// passed reports whether exactly one document was walked.
func (c *cursor) passed() bool { return !c.malformed && c.at == len(c.b) }

// member moves to the next member's value and returns its name with the quotes; nil behind the object's end.
func (c *cursor) member() []byte {
	if c.malformed || c.at >= len(c.b) {
		c.malformed = true
		return nil
	}
	switch c.b[c.at] {
	case '}':
		c.at++
		return nil
	case ',':
		c.at++
	}
	end := c.at
	if c.at < len(c.b) && c.b[c.at] == '"' {
		end = stringEnd(c.b, c.at)
	}
	name := c.b[c.at:end]
	if len(name) < 2 || end+1 >= len(c.b) || c.b[end] != ':' {
		c.malformed = true
		return nil
	}
	c.at = end + 1
	return name
}

// value moves behind the value and returns it.
func (c *cursor) value() []byte {
	begin := c.at
	c.at = valueEnd(c.b, begin)
	if c.at == begin {
		c.malformed = true
	}
	return c.b[begin:c.at]
}

// valueEnd is the position after the value that begins at i.
func valueEnd(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
			if depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}

// compareMembers orders names; nil, the end of an object, comes last.
func compareMembers(a, b []byte) int {
	switch {
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return compareNames(a, b)
}

// compareNames orders two quoted names by UTF-16 code units, as RFC 8785 sorts members. Bytes order the same way unless an escape or a
// character beyond U+D7FF is in them.
func compareNames(a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	if plainName(a) && plainName(b) {
		return bytes.Compare(a[1:len(a)-1], b[1:len(b)-1])
	}
	return slices.Compare(codeUnits(a), codeUnits(b))
}

func plainName(b []byte) bool {
	for _, c := range b {
		if c == '\\' || c >= 0xee {
			return false
		}
	}
	return true
}

func codeUnits(quoted []byte) []uint16 {
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		text = quoted
	}
	return utf16.Encode([]rune(string(text)))
}
