package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/export"
)

// inspectedPacked is what inspect --json prints of a compressed model.
type inspectedPacked struct {
	Model     string            `json:"model"`
	Bytes     int64             `json:"bytes"`
	Packed    bool              `json:"packed"` // always true
	Version   string            `json:"version"`
	Input     []int             `json:"input"`
	Classes   int               `json:"classes"`
	Recipe    map[string]string `json:"recipe"`
	Layers    []export.Layer    `json:"layers"`
	Operators map[string]int    `json:"operators"`
}

// inspectPacked shows a model that this tool has compressed: how, and which
// layer has which width.
func (a *app) inspectPacked(m *model, tree bool) error {
	shape, err := m.imageShape()
	if err != nil {
		return err
	}
	in := inspectedPacked{Model: m.path, Bytes: m.bytes, Packed: true, Version: m.graph.Meta["qvitc.version"],
		Input: []int{shape.C, shape.H, shape.W}, Layers: layersOf(m.graph, rolesIn(m.graph.Meta["qvitc.layers"])), Operators: operators(m.graph)}
	if in.Classes, err = m.classes(); err != nil {
		return err
	}
	if in.Recipe, err = m.recipe("qvitc.recipe"); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(in)
	}
	w := a.out
	fmt.Fprintf(w, "model    %s  %s, compressed by qvitc %s\n", in.Model, bytesText(in.Bytes), oneLine(in.Version))
	fmt.Fprintf(w, "input    %s\nclasses  %d\n", times(in.Input), in.Classes)
	count, bytes := map[string]int{}, map[string]int{}
	for _, l := range in.Layers {
		count[l.Bits]++
		bytes[l.Bits] += l.Bytes
	}
	for _, bits := range slices.Sorted(maps.Keys(count)) {
		if bytes[bits] == 0 {
			fmt.Fprintf(w, "%-8s %d products of activations\n", bits, count[bits])
			continue
		}
		fmt.Fprintf(w, "%-8s %d layers, %s of weights\n", bits, count[bits], bytesText(int64(bytes[bits])))
	}
	fmt.Fprintf(w, "recipe   %s\n", recipeText(in.Recipe))
	fmt.Fprintf(w, "images   %s\n", oneLine(m.preprocessText()))
	if tree {
		for _, l := range in.Layers {
			fmt.Fprintf(w, "%-8s %s\n", l.Bits, oneLine(l.Name))
		}
	}
	return nil
}

// recipe reads the flags that a model file notes under a key; empty where it has none.
func (m *model) recipe(key string) (map[string]string, error) {
	r := map[string]string{}
	if text := m.graph.Meta[key]; text != "" {
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, failf(exitModel, "", "%s: the recipe noted in it is damaged: %v", m.path, err)
		}
	}
	return r, nil
}

// recipeText is a recipe on one line.
func recipeText(recipe map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(recipe)) {
		out = append(out, k+"="+recipe[k])
	}
	return oneLine(strings.Join(out, " "))
}
