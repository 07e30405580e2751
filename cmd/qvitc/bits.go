package main

import (
	"fmt"
	"strings"
)

// bitPlan is what -b says: widths of weights and activations.
type bitPlan struct{ weights, acts int }

func (b bitPlan) String() string { return fmt.Sprintf("w%da%d", b.weights, b.acts) }

var bitNames = []string{"4", "3", "2", "w4a4", "w3a3", "w2a2", "w4a8", "w3a8", "w2a8", "w8a8"}

// parseBits reads -b: 4, 3, 2, or wNaM.
func parseBits(s string) (bitPlan, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	if len(t) == 1 {
		t = "w" + t + "a" + t
	}
	var b bitPlan
	if n, err := fmt.Sscanf(t, "w%da%d", &b.weights, &b.acts); n == 2 && err == nil && b.String() == t {
		for _, name := range bitNames {
			if name == t {
				return b, nil
			}
		}
	}
	return bitPlan{}, failf(exitUsage, "use one of "+strings.Join(bitNames, ", "), "bits %q are not supported", s)
}
