package dataset

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestLayouts opens each tree as a folder, as a .tar and as a .tar.gz, and wants the same set.
func TestLayouts(t *testing.T) {
	flat := files{"b.png": picture(4, 4, 2), "a.png": picture(4, 4, 1)}
	joined := func(fs ...files) files {
		out := files{}
		for _, f := range fs {
			for n, d := range f {
				out[n] = d
			}
		}
		return out
	}
	under := func(dir string, f files) files {
		out := files{}
		for n, d := range f {
			out[dir+"/"+n] = d
		}
		return out
	}
	splits := joined(under("train", pictures(2, "cat", "dog")), files{"val/dog/9.png": picture(9, 9, 9)})
	for name, c := range map[string]struct {
		files             files
		train, eval, note string // eval "+": of one piece, train lists it all
		classes           string
	}{
		"flat":      {flat, "a.png=-1 b.png=-1", "+", "", ""},
		"classes":   {pictures(1, "dog", "cat"), "000.png=0 000.png=1", "+", "", "cat dog"},
		"splits":    {splits, "000.png=0 001.png=0 000.png=1 001.png=1", "9.png=1", "", "cat dog"},
		"wrapped":   {under("x/y", splits), "000.png=0 001.png=0 000.png=1 001.png=1", "9.png=1", "", "cat dog"},
		"test only": {under("test", pictures(1, "cat", "dog")), "", "000.png=0 000.png=1", "", "cat dog"},
		"val and test": {joined(splits, under("test", flat)), "000.png=0 001.png=0 000.png=1 001.png=1", "9.png=1",
			"of 2 folders", "cat dog"},
		"train is a class": {pictures(1, "train", "car"), "000.png=0 000.png=1", "+", "", "car train"},
		"one folder":       {under("imgs", flat), "a.png=-1 b.png=-1", "+", "unlabelled", ""},
		"one class":        {joined(under("train/a", flat), under("test/a", pictures(1, "."))), "a.png=-1 b.png=-1", "000.png=-1", "unlabelled", ""},
		"deep":             {files{"a/x/1.png": picture(4, 4, 1), "b/y/z/2.png": picture(4, 4, 2)}, "1.png=0 2.png=1", "+", "", "a b"},
		"numbers": {files{"9/1.png": picture(4, 4, 1), "10/2.png": picture(4, 4, 2)}, "2.png=0 1.png=1", "+",
			"byte order", "10 9"},
		"labels": {joined(flat, files{"labels.tsv": []byte("file\tclass_index\tname\na.png\t1\tdog\nb.png\t0\tcat\n")}),
			"a.png=1 b.png=0", "+", "", "cat dog"},
		"labels by name":   {joined(flat, files{"labels.tsv": []byte("a.png\tdog\nb.png\tcat\n")}), "a.png=1 b.png=0", "+", "", "cat dog"},
		"labels before":    {joined(pictures(1, "a", "b"), files{"labels.tsv": []byte("a/000.png\t7\r\nb/000.png\t3\r\n")}), "000.png=7 000.png=3", "+", "", ""},
		"more labels":      {joined(flat, files{"labels.tsv": []byte("a.png\t1\nb.png\t0\nc.png\t0\n")}), "a.png=1 b.png=0", "+", "1 lines", ""},
		"text and hidden":  {joined(flat, files{"notes.txt": []byte("x"), ".DS_Store": {0}, "._a.png": {0}}), "a.png=-1 b.png=-1", "+", "1 files are not pictures", ""},
		"no suffix":        {files{"a": picture(4, 4, 1), "b.dat": picture(4, 4, 2)}, "a=-1 b.dat=-1", "+", "", ""},
		"wrong suffix":     {files{"a.jpg": picture(4, 4, 1), "b.gif": picture(4, 4, 2)}, "a.jpg=-1 b.gif=-1", "+", "", ""},
		"twice":            {files{"a.png": picture(4, 4, 1), "b.png": picture(4, 4, 1), "c.png": picture(4, 4, 2)}, "*", "+", "equal one held out|more than once", ""},
		"in both":          {joined(under("train", flat), files{"test/c.png": picture(4, 4, 2)}), "a.png=-1 b.png=-1", "c.png=-1", "1 images to evaluate on are also training", ""},
		"dots in the path": {files{"cat/../dog/1.png": picture(4, 4, 1), "cat/2.png": picture(4, 4, 2)}, "2.png=0 1.png=1", "+", "", "cat dog"},
	} {
		dir := c.files.write(t)
		archives := files{"set.tar": c.files.tar(t), "set.tgz": gz(c.files.tar(t))}.write(t)
		for _, path := range []string{dir, filepath.Join(archives, "set.tar"), filepath.Join(archives, "set.tgz")} {
			what := name + " as " + filepath.Ext(path)
			s, err := Open(path, OpenOptions{})
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			if got := strings.Join(s.Classes, " "); got != c.classes {
				t.Errorf("%s: classes %q, want %q", what, got, c.classes)
			}
			splits := map[string]string{Train: c.train, Eval: c.eval}
			if c.eval == "+" { // of one piece
				splits = map[string]string{All: c.train}
				if !s.HeldOut {
					t.Errorf("%s: nothing is held out", what)
				}
			}
			for split, want := range splits {
				p, err := s.Split(split)
				switch {
				case want == "*":
				case want == "" && err == nil:
					t.Errorf("%s: there is a split %q", what, split)
				case want == "":
				case err != nil:
					t.Errorf("%s: %v", what, err)
				default:
					if got := describe(p); got != want {
						t.Errorf("%s: %s holds %q, want %q", what, split, got, want)
					}
				}
			}
			found := c.note == ""
			for _, n := range s.Notes {
				for _, want := range strings.Split(c.note, "|") {
					found = found || strings.Contains(n, want)
				}
			}
			if !found || c.note == "" && len(s.Notes) > 0 {
				t.Errorf("%s: notes %q, want %q", what, s.Notes, c.note)
			}
			s.Close()
		}
	}
}

func TestFolderFaults(t *testing.T) {
	ok := picture(4, 4, 1)
	for name, c := range map[string]struct {
		files files
		want  []string
	}{
		"empty folder":      {files{}, []string{"no images here"}},
		"text only":         {files{"a.txt": []byte("x")}, []string{"no images here"}},
		"mixed":             {files{"a.png": ok, "b/c.png": ok}, []string{"mixed"}},
		"beside splits":     {files{"a.png": ok, "train/b.png": ok}, []string{"beside the folder", "train"}},
		"unknown class":     {files{"train/a/1.png": ok, "train/b/2.png": ok, "test/c/3.png": ok}, []string{`"test/c"`, "no counterpart"}},
		"two trainings":     {files{"train/1.png": ok, "training/2.png": ok, "test/3.png": ok}, []string{"both"}},
		"all broken":        {files{"a.jpg": []byte("text")}, []string{"a.jpg", "not a PNG"}},
		"two broken of 3":   {files{"a.jpg": {}, "b.png": ok[:20], "c.png": ok}, []string{"2 of 3", "a.jpg: the file is empty", "b.png"}},
		"label missing":     {files{"a.png": ok, "b.png": ok, "labels.tsv": []byte("x.png\t1\n")}, []string{"no label in labels.tsv"}},
		"label negative":    {files{"a.png": ok, "labels.tsv": []byte("a.png\t-3\n")}, []string{"labels.tsv", "line 1", `"-3"`}},
		"label not number":  {files{"a.png": ok, "labels.tsv": []byte("a.png\t3\nb.png\tcat\n")}, []string{"line 2", `"cat"`}},
		"label twice":       {files{"a.png": ok, "labels.tsv": []byte("a.png\t3\na.png\t4\n")}, []string{"line 2", "line 1"}},
		"labels one column": {files{"a.png": ok, "labels.tsv": []byte("a.png\n")}, []string{"line 1", "columns"}},
		"labels empty":      {files{"a.png": ok, "labels.tsv": {}}, []string{"no labels"}},
		"ambiguous label":   {files{"a/1.png": ok, "b/1.png": ok, "labels.tsv": []byte("1.png\t3\n2.png\t4\n")}, nil},
		"several arrays":    {files{"a.npz": {}, "b.npz": {}}, []string{"2 arrays"}},
	} {
		if name == "ambiguous label" { // one is labelled, the other skipped
			s := mustOpen(t, c.files.write(t), OpenOptions{})
			if sk := s.Skipped(); len(sk) != 1 || !strings.Contains(sk[0].Reason, "more than one picture") {
				t.Errorf("%s: skipped %v", name, sk)
			}
			continue
		}
		_, err := Open(c.files.write(t), OpenOptions{})
		oneLineError(t, name, err, c.want...)
	}
	_, err := Open(filepath.Join(t.TempDir(), "missing"), OpenOptions{})
	oneLineError(t, "missing", err, "no such file or folder")
	_, err = Open(os.DevNull, OpenOptions{})
	oneLineError(t, "device", err, "neither a file nor a folder")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Open(pictures(1, "a", "b").write(t), OpenOptions{Context: ctx})
	oneLineError(t, "cancelled", err, "cancel")
}

// TestBrokenImagesAreSkipped puts one broken file among 20 sound ones.
func TestBrokenImagesAreSkipped(t *testing.T) {
	ok := picture(40, 40, 3)
	for name, c := range map[string]struct {
		data []byte
		want string
		late bool // the header is sound; found when decoded
	}{
		"empty.png":     {nil, "the file is empty", false},
		"text.jpg":      {[]byte("this is not a picture"), "not a PNG", false},
		"short.png":     {ok[:len(ok)/2], "damaged: invalid format", true},
		"short.jpg":     {truncatedJPEG(), "", true},
		"huge.png":      {hugePNG(), map[bool]string{true: "megapixels", false: "overflow"}[strconv.IntSize == 64], false},
		"large.png":     {append(picture(4, 4, 1), make([]byte, 300<<10)...), "larger than", false},
		"big.png":       {picture(600, 600, 1), "megapixels", false},
		"header.gif":    {[]byte("GIF89a"), "damaged: reading header", false},
		"zero-size.bmp": {append([]byte("BM"), make([]byte, 60)...), "", false},
	} {
		f := pictures(20, "a")
		f["a/"+name] = c.data
		s, err := Open(f.write(t), OpenOptions{MaxPixels: 1 << 18, MaxImageBytes: 256 << 10})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.late {
			if n := len(s.Skipped()); n != 0 {
				t.Errorf("%s: found early", name)
			}
			for _, cache := range []int64{0, -1} {
				l, err := NewLoader(mustSplit(t, s, All), Preprocess{}, Shape{3, 8, 8}, LoaderOptions{Batch: 7, CacheBytes: cache})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				seen := 0
				for i := range l.Batches() {
					b, err := l.Batch(0, i)
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					seen += b.N
				}
				if seen != 20 {
					t.Errorf("%s: %d images in the batches, want 20", name, seen)
				}
			}
		}
		sk := s.Skipped()
		if len(sk) != 1 || filepath.Base(sk[0].Path) != name || !strings.Contains(sk[0].Reason, c.want) || strings.Contains(sk[0].Reason, "\n") {
			t.Errorf("%s: skipped %v, want %q", name, sk, c.want)
		}
		s.Close()
	}
}

func truncatedJPEG() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range img.Pix {
		img.Pix[i] = byte(i * i >> 3)
	}
	data := encodeJPEG(img)
	return data[:len(data)*2/3]
}

func TestLinksAndPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no symbolic links here")
	}
	dir := pictures(10, "a", "b").write(t)
	os.Symlink("nowhere.png", filepath.Join(dir, "a", "link.png"))
	os.Symlink(filepath.Join(dir, "b"), filepath.Join(dir, "c"))
	s := mustOpen(t, dir, OpenOptions{})
	if sk := s.Skipped(); len(sk) != 1 || !strings.Contains(sk[0].Reason, "leads nowhere") {
		t.Errorf("skipped %v", sk)
	}
	if fmt.Sprint(s.Classes) != "[a b c]" || mustSplit(t, s, All).Len() < 20 {
		t.Errorf("classes %v", s.Classes)
	}
	os.Symlink(dir, filepath.Join(dir, "a", "loop"))
	_, err := Open(dir, OpenOptions{})
	oneLineError(t, "a loop of links", err, "nest deeper")
	if os.Geteuid() == 0 {
		return // root reads everything
	}
	dir = pictures(10, "a", "b").write(t)
	os.Chmod(filepath.Join(dir, "a", "000.png"), 0)
	s = mustOpen(t, dir, OpenOptions{})
	if sk := s.Skipped(); len(sk) != 1 || !strings.Contains(sk[0].Reason, "permission") {
		t.Errorf("skipped %v", sk)
	}
}

func TestOneImage(t *testing.T) {
	for what, path := range map[string]string{
		"folder": files{"a.png": picture(4, 4, 1)}.write(t),
		"file":   filepath.Join(files{"a.png": picture(4, 4, 1)}.write(t), "a.png"),
	} {
		s := mustOpen(t, path, OpenOptions{})
		if s.HeldOut || mustSplit(t, s, Train).Len() != 1 || mustSplit(t, s, All).Len() != 1 {
			t.Errorf("%s: held out %v", what, s.HeldOut)
		}
		_, err := s.Split(Eval)
		oneLineError(t, what, err, "one image only")
	}
	dir := files{"a.txt": bytes.Repeat([]byte("text "), 200)}.write(t)
	_, err := Open(filepath.Join(dir, "a.txt"), OpenOptions{})
	oneLineError(t, "text file", err, "not a data set")
}

func TestHoldOut(t *testing.T) {
	f := files{}
	for i := range 40 {
		f[fmt.Sprintf("%02d.png", i)] = picture(4, 4, i)
	}
	dir := f.write(t)
	a, b := mustOpen(t, dir, OpenOptions{}), mustOpen(t, dir, OpenOptions{})
	c := mustOpen(t, dir, OpenOptions{Seed: 1})
	ea, eb, ec := describe(mustSplit(t, a, Eval)), describe(mustSplit(t, b, Eval)), describe(mustSplit(t, c, Eval))
	if ea != eb || ea == ec || len(strings.Fields(ea)) != 4 {
		t.Errorf("held out %q, %q, and with another seed %q", ea, eb, ec)
	}
	train := describe(mustSplit(t, a, Train))
	for _, name := range strings.Fields(ea) {
		if strings.Contains(train, name) {
			t.Errorf("%s is in both splits", name)
		}
	}
	big := mustOpen(t, files{trainImages: idx(0, 30_000, 1, 2)}.write(t), OpenOptions{})
	if n := mustSplit(t, big, Eval).Len(); n != maxHeldOut {
		t.Errorf("%d of 30,000 held out", n)
	}
	few := mustSplit(t, a, Train).Take(5, 3)
	if few.Len() != 5 || describe(few) != describe(mustSplit(t, b, Train).Take(5, 3)) || mustSplit(t, a, Train).Take(99, 3).Len() != 36 {
		t.Errorf("took %q", describe(few))
	}
}
