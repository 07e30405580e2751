package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// mode is a method by its name: what flags are unless they are given.
type mode struct {
	name, what string
	flags      map[string]string
}

var modes = []mode{
	{"qvit+", "qvit with the outputs of the blocks learned from the teacher", nil},
	{"qvit", "the method of the paper", map[string]string{"features": "0"}},
	{"baseline", "learned quantisers without IRM and DGD", map[string]string{"irm": "off", "dgd": "0", "features": "0"}},
	{"lsq", "baseline without zero points, started and scaled as LSQ", map[string]string{"irm": "off", "dgd": "0", "features": "0", "zero-points": "none", "calib": "lsq", "grad-scale": "true"}},
	{"lsq+", "baseline with a zero point on every linear input, scaled as LSQ", map[string]string{"irm": "off", "dgd": "0", "features": "0", "zero-points": "all", "grad-scale": "true"}},
}

func modeNames() string {
	var out []string
	for _, m := range modes {
		out = append(out, fmt.Sprintf("%s (%s)", m.name, m.what))
	}
	return strings.Join(out, ", ")
}

// applyMode sets the flags of --mode that were not given.
func (o *compressFlags) applyMode(f *pflag.FlagSet) error {
	i := slices.IndexFunc(modes, func(m mode) bool { return m.name == o.mode })
	if i < 0 {
		return failf(exitUsage, "", "--mode %s: want %s", ir.Quote(o.mode), modeNames())
	}
	for _, name := range slices.Sorted(maps.Keys(modes[i].flags)) {
		if f.Changed(name) {
			continue
		}
		if err := f.Set(name, modes[i].flags[name]); err != nil {
			return fail(exitInternal, err)
		}
	}
	return nil
}

func addRecipe(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "recipe", "", "a YAML or JSON file of flags without their dashes, or what inspect --json says of a model that qvitc made; flags on the command line go before it")
}

// noted are the entries of a recipe in a model file that are no flags; fresh-head is
// found in files of older versions.
var noted = map[string]bool{"data": true, "model": true, "teacher-sha256": true, "fresh-head": true}

// maxRecipe bounds the size of a recipe.
const maxRecipe = 1 << 20

// applyRecipe sets the flags that a recipe gives and the command line does not.
// The recipe that a model file holds is one, by itself or within what inspect --json,
// compress --json and finetune --json print.
func applyRecipe(f *pflag.FlagSet, path string) error {
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return fail(exitIO, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxRecipe+1))
	if err != nil {
		return fail(exitIO, err)
	}
	if len(b) > maxRecipe {
		return failf(exitUsage, "", "%s: a recipe of more than %d bytes", path, maxRecipe)
	}
	var recipe map[string]any
	if err := yaml.Unmarshal(b, &recipe); err != nil {
		return failf(exitUsage, "", "%s: %s", path, yamlText(err))
	}
	if r, ok := recipe["recipe"].(map[string]any); ok { // all that --json printed
		recipe = r
	}
	if recipe["fresh-head"] == "false" { // the classes that the model had
		delete(recipe, "classes")
	}
	var names []string
	f.VisitAll(func(g *pflag.Flag) { names = append(names, g.Name) })
	for _, name := range slices.Sorted(maps.Keys(recipe)) {
		g := f.Lookup(name)
		if g == nil || name == "recipe" {
			if noted[name] {
				continue
			}
			return failf(exitUsage, "nearest: "+strings.Join(passes.Nearest(name, names, 3), ", "), "%s: no flag is called %s", path, ir.Quote(name))
		}
		if g.Changed || noted[name] && recipe[name] == "synthetic" {
			continue
		}
		values, err := recipeValues(g, recipe[name])
		if err != nil {
			return failf(exitUsage, "", "%s: %s: %v", path, name, err)
		}
		for _, v := range values {
			if err := f.Set(name, v); err != nil {
				return failf(exitUsage, "", "%s: %s: %s", path, name, oneLine(err.Error()))
			}
		}
	}
	return nil
}

// yamlText says without Go's types what a YAML file has wrong.
func yamlText(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = oneLine(strings.ReplaceAll(strings.TrimPrefix(text, "unmarshal errors:\n"), "\n", ";"))
	text = strings.NewReplacer("unmarshal !!map into", "unmarshal !!map a map into", "unmarshal !!seq into", "unmarshal !!seq a list into").Replace(text)
	text = regexp.MustCompile(`cannot unmarshal !!\w+ (.*?) into [^\s;]+( \{\})?`).ReplaceAllString(text, "$1 does not fit here")
	text = regexp.MustCompile(`field (\S+) not found in type [\w.]+`).ReplaceAllString(text, "the key $1 is not known")
	return strings.Join(strings.Fields(text), " ")
}

// recipeValues are the texts that a flag is set to, one after the other.
func recipeValues(g *pflag.Flag, v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		if g.Value.Type() == "stringArray" { // as a model file notes it
			return strings.Fields(v), nil
		}
		return []string{v}, nil
	case []any:
		var out []string
		for _, x := range v {
			out = append(out, fmt.Sprint(x))
		}
		return out, nil
	case bool, int, uint64, float64:
		return []string{fmt.Sprint(v)}, nil
	}
	return nil, fmt.Errorf("a value of kind %T", v)
}
