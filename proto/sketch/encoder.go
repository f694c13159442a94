package sketch

// Encoder makes the cells of a set, in order. It belongs to one goroutine.
type Encoder struct {
	tags []uint64
	next []uint32 // the first cell at or above at that each tag is in
	at   int
}

// NewEncoder returns the encoder of a set, which it keeps and does not change. Memory: 4 bytes a tag beside.
func NewEncoder(tags []uint64) *Encoder {
	return &Encoder{tags: tags, next: make([]uint32, len(tags))}
}

// At is the index of the next cell.
func (e *Encoder) At() int { return e.at }

// Next appends the next n cells, less beyond CellsMax. A call goes over all tags, so ask for many cells at once.
func (e *Encoder) Next(dst []Cell, n int) []Cell {
	n = max(0, min(n, CellsMax-e.at))
	had := len(dst)
	dst = append(dst, make([]Cell, n)...)
	e.visit(n, 1, dst[had:])
	return dst
}

// visit counts all tags into the cells from at on, with a sign.
func (e *Encoder) visit(n int, sign int64, cells []Cell) {
	first, end := uint32(e.at), uint32(e.at+n)
	for k, i := range e.next {
		if i >= end {
			continue
		}
		tag := e.tags[k]
		check := checkOf(tag)
		for ; i < end; i = next(tag, i) {
			cells[i-first].put(tag, check, sign)
		}
		e.next[k] = i
	}
	e.at += n
}
