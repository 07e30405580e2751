package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// floatLayers names the layers that stay float although a plan could quantise them.
func (j *job) floatLayers() []string {
	names := []string{}
	for _, l := range j.layers {
		if l.Float() {
			names = append(names, l.Name)
		}
	}
	return names
}

// layerLine counts layers by width: "24 at w4a4, 12 attention products at a4".
func (j *job) layerLine() string {
	count := map[string]int{}
	var order []string
	for _, l := range j.layers {
		key := ""
		switch {
		case l.Float():
			continue
		case l.Role == ir.RoleScores || l.Role == ir.RoleContext:
			key = fmt.Sprintf("attention products at a%d", l.Acts)
		default:
			key = fmt.Sprintf("linear at w%da%d", l.Weights, l.Acts)
		}
		if count[key] == 0 {
			order = append(order, key)
		}
		count[key]++
	}
	slices.SortStableFunc(order, func(a, b string) int { return count[b] - count[a] })
	for i, k := range order {
		order[i] = fmt.Sprintf("%d %s", count[k], k)
	}
	return strings.Join(order, ", ")
}

// floatLine says what stayed float.
func (j *job) floatLine() string {
	s := "norms, softmax, GELU, biases, tokens, position embedding, residual stream"
	if names := j.floatLayers(); len(names) > 0 {
		shown := strings.Join(names[:min(4, len(names))], ", ")
		if len(names) > 4 {
			shown += fmt.Sprintf(" and %d more", len(names)-4)
		}
		s += "; excluded: " + shown
	}
	return s
}
