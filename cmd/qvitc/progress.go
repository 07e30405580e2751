package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a phase is: a bar on a terminal, otherwise a line for
// every tenth of the way and after every five minutes without one. Phases that are over soon print no lines at all.
type progress struct {
	w     io.Writer
	title string
	total int
	start time.Time
	after time.Duration // no line before this long
	bar   *progressbar.ProgressBar
	tenth int
	line  time.Time // of the last line
	quiet bool
}

// longSilence is after how long a line is due.
const longSilence = 5 * time.Minute

// shortPhase is how long a phase other than training runs before it is talked about.
const shortPhase = 5 * time.Second

// progress begins a phase that is expected to be short.
func (a *app) progress(title string, total int) *progress {
	p := &progress{w: a.err, title: title, total: total, start: time.Now(), line: time.Now(), after: shortPhase, quiet: a.quiet}
	if f, ok := a.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !a.quiet {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription(title),
			progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(false), progressbar.OptionEnableColorCodes(!a.noColor))
	}
	return p
}

// longProgress begins a phase that is worth lines however short it is.
func (a *app) longProgress(title string, total int) *progress {
	p := a.progress(title, total)
	p.after = 0
	return p
}

// at reports that done of the total are finished; note is shown beside it.
func (p *progress) at(done int, note string) {
	elapsed := time.Since(p.start)
	p.show(done, 0, elapsed*time.Duration(p.total-done)/time.Duration(max(1, done)), note)
}

// show is at with what has been done beyond the finished, and with a remaining time
// that the caller knows better.
func (p *progress) show(done int, begun float64, eta time.Duration, note string) {
	if p.quiet || p.total <= 0 {
		return
	}
	left := ""
	if done < p.total {
		left = "  ETA " + round(eta).String()
	}
	if p.bar != nil {
		p.bar.Describe(p.title + left + "  " + note)
		_ = p.bar.Set(done)
		return
	}
	parts := func(n float64) int { return int(n * (float64(done) + begun) / float64(p.total)) }
	tenth := parts(10)
	if tenth > p.tenth && time.Since(p.start) >= p.after || time.Since(p.line) >= longSilence {
		p.tenth, p.line = tenth, time.Now()
		fmt.Fprintf(p.w, "%s %3d%%  %d/%d%s  %s\n", p.title, parts(100), done, p.total, left, note)
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
