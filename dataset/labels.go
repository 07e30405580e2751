package dataset

import (
	"errors"
	"fmt"
	"path"
	"sort"
	"strconv"
	"strings"
)

const (
	maxLabelBytes = 64 << 20 // of a labels.tsv
	maxClasses    = 1 << 20
)

// labelTable is a labels.tsv: which picture has which class.
type labelTable struct {
	labels  map[string]int32 // by path, as written but with slashes
	byBase  map[string]string
	lines   map[string]int
	used    map[string]bool
	classes []string // names by label, where given
}

// parseLabels reads lines of tab-separated columns. The first column names the picture, the second holds its class:
// numbers from 0, or names that are numbered in byte order. A header line, which must call its first column file,
// filename, path or image, may put the class elsewhere (class_index, label, class or target) and add class names
// (name or class_name).
func parseLabels(data []byte) (*labelTable, error) {
	t := &labelTable{labels: map[string]int32{}, byBase: map[string]string{}, lines: map[string]int{}, used: map[string]bool{}}
	classCol, nameCol := 1, -1
	type row struct{ file, class, name string }
	var rows []row
	text := strings.TrimPrefix(string(data), "\ufeff")
	line := 0
	for text != "" {
		var l string
		l, text, _ = strings.Cut(text, "\n")
		line++
		l = strings.TrimSuffix(l, "\r")
		if strings.TrimSpace(l) == "" {
			continue
		}
		cols := strings.Split(l, "\t")
		if line == 1 && headerWord(cols[0]) {
			for i, c := range cols {
				switch strings.ToLower(c) {
				case "class_index", "label", "class", "target":
					classCol = i
				case "name", "class_name":
					nameCol = i
				}
			}
			continue
		}
		if len(cols) <= classCol {
			return nil, fmt.Errorf("line %d: want at least %d columns parted by tabs, have %d", line, classCol+1, len(cols))
		}
		r := row{file: path.Clean(strings.ReplaceAll(cols[0], "\\", "/")), class: cols[classCol]}
		if nameCol >= 0 && nameCol < len(cols) {
			r.name = cols[nameCol]
		}
		if first, ok := t.lines[r.file]; ok {
			return nil, fmt.Errorf("line %d: %q stands on line %d already", line, r.file, first)
		}
		t.lines[r.file] = line
		if base := path.Base(r.file); t.byBase[base] == "" {
			t.byBase[base] = r.file
		} else {
			t.byBase[base] = "\x00" // not unique
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return nil, errors.New("no labels in it")
	}

	_, err := strconv.Atoi(rows[0].class)
	if err != nil {
		index := map[string]int32{}
		for _, r := range rows {
			if index[r.class] == 0 {
				index[r.class] = 1
				t.classes = append(t.classes, r.class)
			}
		}
		sort.Strings(t.classes)
		for i, c := range t.classes {
			index[c] = int32(i)
		}
		for _, r := range rows {
			t.labels[r.file] = index[r.class]
		}
		return t, nil
	}
	names := map[int]string{}
	top := 0
	for _, r := range rows {
		n, err := strconv.Atoi(r.class)
		if err != nil || n < 0 || n >= maxClasses {
			return nil, fmt.Errorf("line %d: class %q of %q is not a number from 0 to %d", t.lines[r.file], r.class, r.file, maxClasses-1)
		}
		t.labels[r.file] = int32(n)
		top = max(top, n)
		if r.name != "" {
			names[n] = r.name
		}
	}
	if len(names) > 0 && len(names) == top+1 {
		for n := range top + 1 {
			t.classes = append(t.classes, names[n])
		}
	}
	return t, nil
}

func headerWord(s string) bool {
	switch strings.ToLower(s) {
	case "file", "filename", "path", "image":
		return true
	}
	return false
}

// find returns the label of the picture at a path: that of the same path, else of the only line with its base name.
func (t *labelTable) find(name string) (int32, error) {
	key := name
	if _, ok := t.labels[key]; !ok {
		key = t.byBase[path.Base(name)]
	}
	label, ok := t.labels[key]
	if !ok {
		return -1, fmt.Errorf("no label in %s", labelsName)
	}
	if t.used[key] && key != name {
		return -1, fmt.Errorf("%s, line %d, fits more than one picture; write its whole path there", labelsName, t.lines[key])
	}
	t.used[key] = true
	return label, nil
}

// unused returns the names that no picture asked for, in order.
func (t *labelTable) unused() (out []string) {
	for name := range t.labels {
		if !t.used[name] {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out
}
