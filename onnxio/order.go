package onnxio

import (
	"container/heap"
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// sourceNode is a node of the file with its place there, from 0.
type sourceNode struct {
	proto *onnxpb.NodeProto
	index int
}

// sorted gives the nodes in topological order: the file's order where that is
// one (the specification asks for it), else the nearest to it. A cycle is an
// error that names the nodes on it. have knows the graph's inputs and constants.
func (d *decoder) sorted(list []*onnxpb.NodeProto, have func(string) bool) ([]sourceNode, error) {
	out := make([]sourceNode, len(list))
	maker := make(map[string]int, len(list))
	for i, n := range list {
		out[i] = sourceNode{n, i}
		for _, o := range n.GetOutput() {
			if o == "" {
				continue
			}
			if _, twice := maker[o]; twice || have(o) {
				return nil, nodeError(n, i, fmt.Errorf("value %s is made twice", ir.Quote(o)))
			}
			maker[o] = i
		}
	}
	inOrder := true
	waits := make([]int, len(list))
	users := make([][]int, len(list))
	for i, n := range list {
		for _, name := range reads(n) {
			m, ok := maker[name]
			if !ok {
				continue
			}
			users[m] = append(users[m], i)
			waits[i]++
			if m >= i {
				if inOrder {
					d.warn("node %s reads %s before it is made; the nodes are sorted", ir.Quote(nameOf(n, i)), ir.Quote(name))
				}
				inOrder = false
			}
		}
	}
	if inOrder {
		return out, nil
	}
	var ready intHeap
	for i, w := range waits {
		if w == 0 {
			ready = append(ready, i)
		}
	}
	order := make([]sourceNode, 0, len(list))
	for len(ready) > 0 {
		i := heap.Pop(&ready).(int)
		order = append(order, out[i])
		for _, u := range users[i] {
			if waits[u]--; waits[u] == 0 {
				heap.Push(&ready, u)
			}
		}
	}
	if len(order) < len(list) {
		return nil, cycle(list, maker, waits)
	}
	return order, nil
}

// cycle words the error for a cycle: from any node that still waits, going to
// a maker that still waits comes round to one.
func cycle(list []*onnxpb.NodeProto, maker map[string]int, waits []int) error {
	at := 0
	for waits[at] == 0 {
		at++
	}
	next := func(i int) int {
		for _, name := range reads(list[i]) {
			if m, ok := maker[name]; ok && waits[m] > 0 {
				return m
			}
		}
		return i
	}
	for range list { // onto the cycle
		at = next(at)
	}
	var names []string
	for i := at; ; {
		names = append(names, ir.Quote(nameOf(list[i], i)))
		if i = next(i); i == at || len(names) == 8 {
			break
		}
	}
	return nodeError(list[at], at, fmt.Errorf("the node needs its own result: the cycle is %s", strings.Join(names, " <- ")))
}

// reads lists the names that a node reads, those of its subgraphs included.
func reads(n *onnxpb.NodeProto) []string {
	var out []string
	for _, name := range n.GetInput() {
		if name != "" {
			out = append(out, name)
		}
	}
	for _, a := range n.GetAttribute() {
		if a.G != nil {
			out = append(out, freeNames(a.G)...)
		}
		for _, g := range a.Graphs {
			out = append(out, freeNames(g)...)
		}
	}
	return out
}

// freeNames lists the names that a subgraph takes from the graphs around it.
// The recursion is as deep as the nesting limit.
func freeNames(g *onnxpb.GraphProto) []string {
	own := map[string]bool{}
	for _, v := range g.GetInput() {
		own[v.GetName()] = true
	}
	for _, t := range g.GetInitializer() {
		own[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		own[t.GetValues().GetName()] = true
	}
	for _, n := range g.GetNode() {
		for _, o := range n.GetOutput() {
			own[o] = true
		}
	}
	var out []string
	add := func(name string) {
		if name != "" && !own[name] {
			own[name] = true
			out = append(out, name)
		}
	}
	for _, n := range g.GetNode() {
		for _, name := range reads(n) {
			add(name)
		}
	}
	for _, o := range g.GetOutput() {
		add(o.GetName())
	}
	return out
}

func nameOf(p *onnxpb.NodeProto, index int) string {
	switch {
	case p.GetName() != "":
		return p.GetName()
	case len(p.GetOutput()) > 0 && p.GetOutput()[0] != "":
		return p.GetOutput()[0]
	}
	return fmt.Sprintf("#%d", index+1)
}

type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
