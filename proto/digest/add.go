package digest

import "iter"

// Entries hashes n rows, and yields each one's number and entry, in order. row returns the key and value of one; where ok is false there is none, and its
// entry is zero. Rows are asked for once each, in order too, and one may be asked for before the entry of the one before it is yielded: what row
// returned before need not stay as it is. It is faster than Entry, as two are hashed at a time.
func (h *Hasher) Entries(n int, row func(i int) (key, value []byte, ok bool)) iter.Seq2[int, Entry] {
	return func(yield func(int, Entry) bool) {
		for i := 0; i < n; i += 2 {
			first := h.one.take(i, row)
			second := i+1 < n && h.other.take(i+1, row)
			var x, y Entry
			switch {
			case first && second:
				x, y = hashPair(&h.one, &h.other)
			case first:
				x = h.one.alone()
			case second:
				y = h.other.alone()
			}
			if !yield(i, x) || i+1 < n && !yield(i+1, y) {
				return
			}
		}
	}
}

func (m *message) take(i int, row func(i int) (key, value []byte, ok bool)) bool {
	key, value, ok := row(i)
	if ok {
		m.row(key, value)
	}
	return ok
}

// Adder makes the digest of many rows, and is faster than a Hasher, as it hashes two at a time. It belongs to one goroutine; the zero value is ready.
type Adder struct {
	waiting, row message
	waits        bool
	digest       Digest
}

// Add counts a row in. It keeps neither key nor value.
func (a *Adder) Add(key, value []byte) {
	if !a.waits {
		a.waiting.row(key, value)
		a.waits = true
		return
	}
	a.row.row(key, value)
	x, y := hashPair(&a.waiting, &a.row)
	a.digest.Add(x)
	a.digest.Add(y)
	a.waits = false
}

// Digest is that of all rows so far. More may follow.
func (a *Adder) Digest() Digest {
	if a.waits {
		a.digest.Add(a.waiting.alone())
		a.waits = false
	}
	return a.digest
}
