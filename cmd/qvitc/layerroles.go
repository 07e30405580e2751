package main

import (
	"cmp"
	"encoding/json"

	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
)

// layersOf lists the bits of every layer. Roles that the graph does not tell are
// taken from those given, by name.
func layersOf(g *ir.Graph, roles map[string]string) []export.Layer {
	list := export.LayerBits(g)
	for i, l := range list {
		list[i].Role = cmp.Or(l.Role, roles[l.Name])
	}
	return list
}

// rolesIn reads the roles of the layers, by name, that a file tells.
func rolesIn(layers string) map[string]string {
	var list []export.Layer
	roles := map[string]string{}
	if json.Unmarshal([]byte(layers), &list) == nil {
		for _, l := range list {
			roles[l.Name] = l.Role
		}
	}
	return roles
}
