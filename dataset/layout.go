package dataset

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// splitNames are the folder names that make a split, and the words looked for in the names of IDX files and archives.
// Where several evaluation folders are there the first of this order is taken, one with labels before one without.
var (
	trainNames = []string{"train", "training"}
	evalNames  = []string{"test", "testing", "val", "valid", "validation", "eval", "evaluation", "t10k"}
)

// splitOf returns Train or Eval where word is a split's name, else "".
func splitOf(word string) string {
	word = strings.ToLower(word)
	switch {
	case slices.Contains(trainNames, word):
		return Train
	case slices.Contains(evalNames, word):
		return Eval
	}
	return ""
}

// layout is how the pictures of a folder or an archive fall into splits and classes.
type layout struct {
	classes []string
	parts   []part
	notes   []string
}

// part is one split; split is "" for a set of one piece.
type part struct {
	split  string
	images []placed
}

type placed struct {
	k     int // index into the paths
	label int32
}

// addEncoded adds the pictures of src, which stand at paths (relative, with slashes) among the folders dirs.
func (s *Set) addEncoded(ctx context.Context, src *encoded, paths, dirs []string, labels *labelTable) error {
	lay, err := arrange(paths, dirs)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	side, errs, err := src.check(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	s.Notes = append(s.Notes, lay.notes...)
	s.Classes = lay.classes
	s.side = max(s.side, side)
	if labels != nil {
		s.Classes = labels.classes
	}
	given := make([]int32, len(paths))
	if labels != nil {
		for k, p := range paths {
			label, err := labels.find(p)
			if given[k] = label; err != nil && errs[k] == nil {
				errs[k] = err
			}
		}
		if left := labels.unused(); len(left) > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("%s: %d lines of %s name pictures that are not there, the first %q", s.Path, len(left), labelsName, left[0]))
		}
	}
	var one []item
	for _, p := range lay.parts {
		var items []item
		for _, im := range p.images {
			s.total++
			if labels != nil {
				im.label = given[im.k]
			}
			if errs[im.k] != nil {
				s.addSkipped(src.name(im.k), errs[im.k])
				continue
			}
			items = append(items, item{src, im.k, im.label})
		}
		switch p.split {
		case Train:
			s.train = items
		case Eval:
			s.eval = items
		default:
			one = items
		}
	}
	if one != nil {
		s.holdOut(one)
	}
	return nil
}

// arrange finds the splits and classes in a tree of pictures.
func arrange(paths, dirs []string) (layout, error) {
	order := make([]int, len(paths))
	for k := range order {
		order[k] = k
	}
	sort.Slice(order, func(i, j int) bool { return paths[order[i]] < paths[order[j]] })

	// A folder that holds everything and is no split is a wrapper.
	prefix := ""
	for {
		top := tops(paths, prefix)
		if len(top) != 1 || top[0] == "" || splitOf(top[0]) != "" {
			break
		}
		prefix += top[0] + "/"
	}
	top := tops(paths, prefix)
	bySplit := true
	for _, name := range top {
		bySplit = bySplit && name != "" && splitOf(name) != ""
	}
	var lay layout
	if !bySplit {
		if at := slices.IndexFunc(top, func(n string) bool { return splitOf(n) != "" }); at >= 0 && top[0] == "" {
			return lay, fmt.Errorf("pictures stand beside the folder %q; put them into it or elsewhere", prefix+top[at])
		}
		images, classes, err := classify(paths, order, dirs, prefix, nil)
		if err != nil {
			return lay, err
		}
		if prefix != "" && classes == nil {
			lay.notes = append(lay.notes, fmt.Sprintf("one folder, %q, holds all pictures: they are taken as unlabelled", strings.TrimSuffix(prefix, "/")))
		}
		lay.classes, lay.parts = classes, []part{{"", images}}
		lay.notes = append(lay.notes, classNotes(classes)...)
		return lay, nil
	}

	train, evals, err := splitFolders(top, prefix)
	if err != nil {
		return lay, err
	}
	if train != "" {
		images, classes, err := classify(paths, order, dirs, train, nil)
		if err != nil {
			return lay, err
		}
		lay.classes = classes
		lay.parts = append(lay.parts, part{Train, images})
	}
	var chosen *part
	from := ""
	for _, dir := range evals {
		images, classes, err := classify(paths, order, dirs, dir, lay.classes)
		if err != nil {
			return lay, err
		}
		if chosen == nil || chosen.images[0].label < 0 && images[0].label >= 0 {
			chosen, from = &part{Eval, images}, dir
			if train == "" {
				lay.classes = classes
			}
		}
	}
	if chosen != nil {
		lay.parts = append(lay.parts, *chosen)
		if len(evals) > 1 {
			lay.notes = append(lay.notes, fmt.Sprintf("of %d folders to evaluate on, %q is taken", len(evals), strings.TrimSuffix(from, "/")))
		}
	}
	if len(lay.classes) == 1 {
		lay.notes = append(lay.notes, fmt.Sprintf("one class folder only, %q: the pictures are taken as unlabelled", lay.classes[0]))
		lay.classes = nil
		for _, p := range lay.parts {
			for i := range p.images {
				p.images[i].label = -1
			}
		}
	}
	if len(lay.parts) == 1 && lay.parts[0].split == Train {
		lay.parts[0].split = "" // training pictures alone: hold some out
	}
	lay.notes = append(lay.notes, classNotes(lay.classes)...)
	return lay, nil
}

// splitFolders sorts the top folders into the training one and those to evaluate on, in order of preference.
func splitFolders(top []string, prefix string) (train string, evals []string, err error) {
	for _, name := range top {
		if splitOf(name) != Train {
			continue
		}
		if train != "" {
			return "", nil, fmt.Errorf("both %q and %q hold training pictures", train, prefix+name)
		}
		train = prefix + name + "/"
	}
	for _, want := range evalNames {
		for _, name := range top {
			if strings.ToLower(name) == want {
				evals = append(evals, prefix+name+"/")
			}
		}
	}
	return train, evals, nil
}

// tops returns, in order, the first components of the paths under prefix; "" stands for pictures right there.
func tops(paths []string, prefix string) []string {
	set := map[string]bool{}
	for _, p := range paths {
		rest, ok := strings.CutPrefix(p, prefix)
		if !ok {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		if !deeper {
			first = ""
		}
		set[first] = true
	}
	out := make([]string, 0, len(set))
	for name := range set {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// classify returns the pictures under prefix with their labels, and the class names: the folders there in byte
// order, empty ones included, or none for a flat folder. Where known is given the folders must be among it.
func classify(paths []string, order []int, dirs []string, prefix string, known []string) ([]placed, []string, error) {
	top := tops(paths, prefix)
	if top[0] == "" && len(top) > 1 {
		return nil, nil, fmt.Errorf("%q holds both pictures and folders of pictures; class folders and a flat folder cannot be mixed", path.Join(".", prefix))
	}
	index := map[string]int32{"": -1}
	var classes []string
	if top[0] != "" {
		classes = known
		if classes == nil {
			classes = slices.Clone(top)
			for _, d := range dirs {
				if rest, ok := strings.CutPrefix(d, prefix); ok && rest != "" && !strings.Contains(rest, "/") {
					classes = append(classes, rest)
				}
			}
			sort.Strings(classes)
			classes = slices.Compact(classes)
		}
		for i, name := range classes {
			index[name] = int32(i)
		}
	}
	var out []placed
	for _, k := range order {
		rest, ok := strings.CutPrefix(paths[k], prefix)
		if !ok {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		if !deeper {
			first = ""
		}
		label, ok := index[first]
		if !ok {
			return nil, nil, fmt.Errorf("class folder %q has no counterpart among the %d training classes", prefix+first, len(known))
		}
		out = append(out, placed{k, label})
	}
	return out, classes, nil
}

// classNotes warns where folder names are numbers whose byte order is not their order.
func classNotes(classes []string) []string {
	last, wrong := -1, ""
	for _, c := range classes {
		n, err := strconv.Atoi(c)
		if err != nil {
			return nil
		}
		if n < last && wrong == "" {
			wrong = c
		}
		last = n
	}
	if wrong == "" {
		return nil
	}
	return []string{fmt.Sprintf("class folders are numbers taken in byte order (%q is class %d): pad them with zeros or give a %s for another order",
		wrong, slices.Index(classes, wrong), labelsName)}
}
