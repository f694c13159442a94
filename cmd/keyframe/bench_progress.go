package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// benchProgress shows one bar, of the phase that is under way, on a terminal; elsewhere nothing.
type benchProgress struct {
	bars *mpb.Progress

	mu  sync.Mutex
	bar *mpb.Bar // guarded by mu
}

func newBenchProgress(to io.Writer) *benchProgress {
	if file, isFile := to.(*os.File); !isFile || !term.IsTerminal(int(file.Fd())) {
		to = nil
	}
	return &benchProgress{bars: mpb.New(mpb.WithOutput(to), mpb.WithWidth(48), mpb.WithRefreshRate(200*time.Millisecond))}
}

// Phase implements bench.Progress.
func (p *benchProgress) Phase(name string, total int64, unit string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked()
	after := []decor.Decorator{decor.Elapsed(decor.ET_STYLE_GO)}
	if total > 0 {
		after = []decor.Decorator{decor.CountersNoUnit("%d / %d " + unit)}
	}
	p.bar = p.bars.AddBar(total, mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(name+" ")), mpb.AppendDecorators(after...))
}

// At implements bench.Progress.
func (p *benchProgress) At(done int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.SetCurrent(done)
	}
}

func (p *benchProgress) endLocked() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bar.Wait()
		p.bar = nil
	}
}

// end takes the bar away.
func (p *benchProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked()
	p.bars.Wait()
}
