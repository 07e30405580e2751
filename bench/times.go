package bench

import (
	"math"
	"slices"
	"time"
)

// Summary describes durations of equal runs.
type Summary struct {
	Runs                      int
	Best, P50, P95, P99, Mean time.Duration
}

// Summarise sorts a copy of the times. Percentiles are nearest-rank: P95 is the
// smallest time that at least 95 % of the runs do not exceed. No times give the
// zero Summary.
func Summarise(times []time.Duration) Summary {
	if len(times) == 0 {
		return Summary{}
	}
	t := slices.Sorted(slices.Values(times))
	at := func(p float64) time.Duration { return t[max(0, int(math.Ceil(p*float64(len(t))))-1)] }
	var sum time.Duration
	for _, d := range t {
		sum += d
	}
	return Summary{Runs: len(t), Best: t[0], P50: at(0.5), P95: at(0.95), P99: at(0.99), Mean: sum / time.Duration(len(t))}
}

// Ms is a duration in milliseconds.
func Ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
