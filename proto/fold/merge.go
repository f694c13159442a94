package fold

import (
	"bytes"
	"slices"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"
)

// appendMerged appends the result of a merge patch (RFC 7396) to dst. Both documents are canonical, so that their members are sorted and one
// walk over both makes a canonical result; target nil means that there is none. ok is false where bytes turn out not to be canonical.
func appendMerged(dst, target, patch []byte) (merged []byte, ok bool) {
	if len(patch) == 0 {
		return nil, false
	}
	if patch[0] != '{' {
		return append(dst, patch...), true
	}
	if len(target) == 0 || target[0] != '{' {
		target = []byte("{}")
	}
	t, p := members{b: target, at: 1}, members{b: patch, at: 1}
	t.next()
	p.next()
	dst = append(dst, '{')
	begin := len(dst)
	for !t.done || !p.done {
		order := compareMembers(&t, &p)
		switch {
		case order < 0:
			dst = append(appendName(dst, begin, t.name), t.value...)
		case string(p.value) == "null": // removes, or was never there
		default:
			var old []byte
			if order == 0 {
				old = t.value
			}
			if dst, ok = appendMerged(appendName(dst, begin, p.name), old, p.value); !ok {
				return nil, false
			}
		}
		if order <= 0 {
			t.next()
		}
		if order >= 0 {
			p.next()
		}
	}
	if t.malformed || p.malformed {
		return nil, false
	}
	return append(dst, '}'), true
}

// appendName appends the member's name, quotes included, behind what stands since begin.
func appendName(dst []byte, begin int, name []byte) []byte {
	if len(dst) > begin {
		dst = append(dst, ',')
	}
	return append(append(dst, name...), ':')
}

// members walks the members of a canonical object.
type members struct {
	b           []byte
	at          int
	name, value []byte // name with its quotes
	done        bool
	malformed   bool
}

func (m *members) next() {
	if m.at < len(m.b) && m.b[m.at] == ',' {
		m.at++
	}
	if m.at >= len(m.b) || m.b[m.at] != '"' {
		m.done = true
		m.malformed = m.malformed || m.at != len(m.b)-1 || m.b[m.at] != '}'
		return
	}
	end := stringEnd(m.b, m.at)
	if end >= len(m.b) || m.b[end] != ':' {
		m.done, m.malformed = true, true
		return
	}
	m.name = m.b[m.at:end]
	valueEnd := skipValue(m.b, end+1)
	m.value, m.at = m.b[end+1:valueEnd], valueEnd
	if len(m.value) == 0 {
		m.done, m.malformed = true, true
	}
}

// skipValue is the position after the value that begins at i.
func skipValue(b []byte, i int) int {
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

// compareMembers orders two walks by their next names; one that is done comes last.
func compareMembers(a, b *members) int {
	switch {
	case a.done:
		return 1
	case b.done:
		return -1
	}
	return compareNames(a.name, b.name)
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
