package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a long phase is: a bar on a terminal, otherwise one
// line for every tenth of the way.
type progress struct {
	w     io.Writer
	title string
	total int
	start time.Time
	bar   *progressbar.ProgressBar
	tenth int
	quiet bool
}

func (a *app) progress(title string, total int) *progress {
	p := &progress{w: a.err, title: title, total: total, start: time.Now(), quiet: a.quiet}
	if f, ok := a.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !a.quiet {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription(title),
			progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(),
			progressbar.OptionEnableColorCodes(!a.noColor))
	}
	return p
}

// at reports that done of the total are finished; note is shown beside it.
func (p *progress) at(done int, note string) {
	switch {
	case p.quiet:
	case p.bar != nil:
		p.bar.Describe(p.title + " " + note)
		_ = p.bar.Set(done)
	case p.total > 0 && done*10/p.total > p.tenth:
		p.tenth = done * 10 / p.total
		elapsed := time.Since(p.start)
		eta := ""
		if done < p.total {
			eta = fmt.Sprintf("  ETA %s", round(elapsed*time.Duration(p.total-done)/time.Duration(done)))
		}
		fmt.Fprintf(p.w, "%s %3d%%  %d/%d%s  %s\n", p.title, done*100/p.total, done, p.total, eta, note)
	}
}

// of sets the total where it is known only later.
func (p *progress) of(total int) {
	if p.total == total {
		return
	}
	p.total = total
	if p.bar != nil {
		p.bar.ChangeMax(total)
	}
}

func (p *progress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Minute:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}
