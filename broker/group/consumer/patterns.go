package consumer

import (
	"math"
	"regexp"
	"sort"
	"sync"
	"sync/atomic"
	"weak"
)

// Patterns are the regular expressions of many groups and the topics that they match. Each expression is held against each topic once,
// however many groups have it: when it comes, and then against the topics that come. A group only looks at what was found. It is safe for
// concurrent use, and nobody waits for a Refresh.
type Patterns struct {
	topics Topics
	steps  atomic.Uint64 // names that were held against expressions
	grown  atomic.Uint64 // changes when an expression is found to match more
	done   atomic.Uint64 // the version of the topics that all expressions were held against, or notDone

	refreshing sync.Mutex

	mu      sync.Mutex
	arrived arrivals
	known   map[TopicID]struct{}             // those of arrived
	all     map[string]weak.Pointer[Pattern] // members hold them
}

const notDone = math.MaxUint64

// arrivals are the topics in the order in which they were first seen, also some that are gone. What list points to is never changed.
type arrivals struct {
	version uint64
	list    []arrival
}

type arrival struct {
	number uint64 // 1, 2, and so on
	id     TopicID
	name   string
}

// Pattern is one expression.
type Pattern struct {
	re *regexp.Regexp

	matching sync.Mutex // before found is replaced
	found    atomic.Pointer[found]
}

type found struct {
	upTo  uint64    // the number of the last topic that was looked at
	ids   []TopicID // also of topics that are gone
	count uint64    // of matches, ever
	ready bool      // all topics have been looked at, once
}

// NewPatterns is without expressions.
func NewPatterns(topics Topics) *Patterns {
	return &Patterns{topics: topics, known: map[TopicID]struct{}{}, all: map[string]weak.Pointer[Pattern]{}}
}

// get is the expression; nil for "" and what is none.
func (p *Patterns) get(expression string) *Pattern {
	if expression == "" {
		return nil
	}
	p.mu.Lock()
	x := p.all[expression].Value()
	p.mu.Unlock()
	if x != nil {
		return x
	}
	re, err := compile(expression)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.all[expression].Value(); x != nil {
		return x
	}
	x = &Pattern{re: re}
	x.found.Store(&found{})
	p.all[expression] = weak.Make(x)
	p.done.Store(notDone)
	return x
}

// Prepare holds an expression against the topics before a group comes to know it, so that a step of the group does not have to. It counts
// as long as the result is kept.
func (p *Patterns) Prepare(expression string) *Pattern {
	x := p.get(expression)
	if x != nil {
		p.catchUp(x, p.look(), math.MaxInt)
	}
	return x
}

// Refresh holds the expressions against the topics that have come. It ends after steps of them, and the next one goes on; and at once
// while another is under way.
func (p *Patterns) Refresh(steps int) {
	if p.done.Load() == p.topics.Version() || !p.refreshing.TryLock() {
		return
	}
	defer p.refreshing.Unlock()
	topics := p.look()
	p.done.Store(topics.version) // unless an expression comes meanwhile, or this ends early
	for _, x := range p.live() {
		if steps -= p.catchUp(x, topics, steps); steps <= 0 {
			p.done.Store(notDone)
			return
		}
	}
}

// live are the expressions that somebody has; the others are forgotten.
func (p *Patterns) live() (list []*Pattern) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for expression, w := range p.all {
		if x := w.Value(); x != nil {
			list = append(list, x)
		} else {
			delete(p.all, expression)
		}
	}
	return list
}

// look brings arrived up to date.
func (p *Patterns) look() arrivals {
	p.mu.Lock()
	defer p.mu.Unlock()
	version := p.topics.Version()
	if version == p.arrived.version {
		return p.arrived
	}
	all := p.topics.All()
	number := uint64(0)
	if n := len(p.arrived.list); n > 0 {
		number = p.arrived.list[n-1].number
	}
	p.arrived.version = version
	for _, t := range all {
		if _, ok := p.known[t.ID]; !ok {
			number++
			p.known[t.ID] = struct{}{}
			p.arrived.list = append(p.arrived.list, arrival{number, t.ID, t.Name})
		}
	}
	if len(p.arrived.list) > 2*len(all)+goneMax {
		p.forgetLocked(all)
	}
	return p.arrived
}

// goneMax is how many topics that are gone are not worth forgetting.
const goneMax = 100

// forgetLocked forgets topics that are gone.
func (p *Patterns) forgetLocked(all []Topic) {
	p.known = make(map[TopicID]struct{}, len(all))
	for _, t := range all {
		p.known[t.ID] = struct{}{}
	}
	last := p.arrived.list[len(p.arrived.list)-1]
	var list []arrival
	for _, a := range p.arrived.list {
		if _, ok := p.known[a.id]; ok || a == last { // the numbers go on
			list = append(list, a)
		}
	}
	p.arrived.list = list
	p.known[last.id] = struct{}{}
	for _, w := range p.all {
		if x := w.Value(); x != nil {
			x.forget(p.known)
		}
	}
}

func (x *Pattern) forget(all map[TopicID]struct{}) {
	x.matching.Lock()
	defer x.matching.Unlock()
	f := *x.found.Load()
	var ids []TopicID
	for _, id := range f.ids {
		if _, ok := all[id]; ok {
			ids = append(ids, id)
		}
	}
	f.ids = ids
	x.found.Store(&f)
}

// catchUp holds the expression against at most so many topics that it was not held against, and returns how many those were.
func (p *Patterns) catchUp(x *Pattern, topics arrivals, steps int) int {
	x.matching.Lock()
	defer x.matching.Unlock()
	f := *x.found.Load()
	from := sort.Search(len(topics.list), func(i int) bool { return topics.list[i].number > f.upTo })
	news := topics.list[from:]
	if len(news) > steps {
		news = news[:steps]
	} else if len(news) == 0 && f.ready {
		return 0
	}
	before := len(f.ids)
	for _, a := range news {
		if x.re.MatchString(a.name) {
			f.ids = append(f.ids, a.id) // behind what others see
			f.count++
		}
		f.upTo = a.number
	}
	f.ready = f.ready || from+len(news) == len(topics.list)
	x.found.Store(&f)
	p.steps.Add(uint64(len(news)))
	if len(f.ids) > before {
		p.grown.Add(1)
	}
	return len(news)
}

// matched are the ids of the topics that the expression was found to match, among them of some that are gone; count tells them from those
// of another time.
func (p *Patterns) matched(x *Pattern) (ids []TopicID, count uint64) {
	f := x.found.Load()
	if !f.ready {
		p.catchUp(x, p.look(), math.MaxInt) // nobody had the time before
		f = x.found.Load()
	}
	return f.ids, f.count
}
