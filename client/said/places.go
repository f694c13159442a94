package said

// placesMax bounds the list; who needs more does not know the offsets of rows any more.
const placesMax = 1 << 16

// places maps the numbers of records to the offsets at which they were acknowledged. Both rise.
type places struct {
	runs  []run
	last  int64 // highest offset that was added; -1: none
	known int64 // behind the highest number whose offset is known: where the next ones lie may be anywhere above last
}

// run says that from a number on the offset is the number and a constant, up to the next run.
type run struct{ number, offset int64 }

// newPlaces begins with numbers below next that are the offsets.
func newPlaces(next int64) places { return places{runs: []run{{0, 0}}, last: -1, known: next} }

// add tells where a record lies, and reports false where that does not fit: the log is another one, or there are too many places.
func (p *places) add(number, offset int64) bool {
	if offset <= p.last {
		return false
	}
	p.last, p.known = offset, number+1
	if last := p.runs[len(p.runs)-1]; offset-number == last.offset-last.number {
		return true
	}
	if len(p.runs) == placesMax {
		return false
	}
	p.runs = append(p.runs, run{number, offset})
	return true
}

// number returns the first number whose offset is at or above one, or not known, and forgets what lies below.
func (p *places) number(offset int64) int64 {
	i := len(p.runs) - 1
	for i > 0 && p.runs[i].offset > offset {
		i--
	}
	p.runs = p.runs[i:]
	n := p.runs[0].number + offset - p.runs[0].offset
	if len(p.runs) > 1 {
		n = min(n, p.runs[1].number)
	}
	return min(n, p.known)
}
