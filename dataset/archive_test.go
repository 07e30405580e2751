package dataset

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestLabelsBesideArchive(t *testing.T) {
	images := files{"a.png": picture(4, 4, 1), "b.png": picture(4, 4, 2)}
	table := []byte("file\tclass_index\nb.png\t4\na.png\t9\n")
	for name, f := range map[string]files{
		"beside": {"images.tar": images.tar(t), "labels.tsv": table},
		"inside": {"images.tgz": gz(files{"x/a.png": images["a.png"], "x/b.png": images["b.png"], "x/labels.tsv": table}.tar(t))},
	} {
		dir := f.write(t)
		if got := describe(mustSplit(t, mustOpen(t, dir, OpenOptions{}), All)); got != "a.png=9 b.png=4" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTwoArchives(t *testing.T) {
	train, test := pictures(3, "train/a", "train/b"), pictures(1, "test/b", "test/a")
	flat := pictures(2, "a", "b")
	for name, f := range map[string]files{
		"named inside":  {"one.tar.gz": gz(train.tar(t)), "two.tar": test.tar(t)},
		"named outside": {"cifar-train.tar": pictures(3, "a", "b").tar(t), "cifar-test.tgz": gz(pictures(1, "b", "a").tar(t))},
	} {
		s := mustOpen(t, f.write(t), OpenOptions{})
		if got := describe(mustSplit(t, s, Eval)); s.HeldOut || got != "000.png=0 000.png=1" || mustSplit(t, s, Train).Len() != 6 {
			t.Errorf("%s: %q", name, got)
		}
	}
	_, err := Open(files{"a.tar": flat.tar(t), "b.tar": flat.tar(t)}.write(t), OpenOptions{})
	oneLineError(t, "unnamed", err, "several archives", `"a.tar"`)
}

func TestArchiveFaults(t *testing.T) {
	good := pictures(4, "a", "b").tar(t)
	packed := gz(good)
	for name, c := range map[string]struct {
		file string
		data []byte
		want string
	}{
		"empty":          {"x.tar", nil, "the file is empty"},
		"no pictures":    {"x.tar", files{"a.txt": []byte("x")}.tar(t), "no pictures"},
		"short tar":      {"x.tar", good[:1200], "ends too early"},
		"short gz":       {"x.tgz", packed[:len(packed)/2], "ends too early"},
		"bad checksum":   {"x.tgz", badSum(bytes.Clone(packed)), "damaged"},
		"damaged header": {"x.tar", append(bytes.Clone(good[:1024]), bytes.Repeat([]byte{7}, 1024)...), "damaged"},
		"text":           {"x.tar", []byte("hello"), "not a data set"},
		"gz of text":     {"x.tar.gz", gz([]byte("hello")), "not a data set"},
		"broken labels":  {"x.tar", files{"a.png": picture(4, 4, 1), "labels.tsv": []byte("a.png")}.tar(t), "labels.tsv: line 1"},
	} {
		_, err := Open(filepath.Join(files{c.file: c.data}.write(t), c.file), OpenOptions{})
		oneLineError(t, name, err, c.file, c.want)
	}
	_, err := Open(filepath.Join(files{"x.tgz": packed}.write(t), "x.tgz"), OpenOptions{MaxMemory: 500})
	oneLineError(t, "memory", err, "unpack it into a folder")
}

// TestArchiveMembers has links, a name twice, names that climb, an empty and an oversized picture.
func TestArchiveMembers(t *testing.T) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(name string, kind byte, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Linkname: "/etc/passwd", Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	add("../../a.png", tar.TypeReg, picture(4, 4, 1))
	add("/b.png", tar.TypeReg, []byte("an older one"))
	add("/b.png", tar.TypeReg, picture(4, 4, 2))
	add("c.png", tar.TypeSymlink, nil)
	add("d.png", tar.TypeLink, nil)
	add("fifo.png", tar.TypeFifo, nil)
	for i := range 20 {
		add(string(rune('k'+i))+".png", tar.TypeReg, picture(5, 5, i))
	}
	w.Close()
	before, _ := os.ReadDir(".")
	dir := files{"x.tar": buf.Bytes(), "y.tgz": gz(buf.Bytes())}.write(t)
	for _, name := range []string{"x.tar", "y.tgz"} {
		s := mustOpen(t, filepath.Join(dir, name), OpenOptions{})
		all := mustSplit(t, s, All)
		if all.Len() != 22 || len(s.Skipped()) != 0 || len(s.Notes) != 1 {
			t.Errorf("%s: %d images, skipped %v, notes %v", name, all.Len(), s.Skipped(), s.Notes)
		}
		mustLoader(t, all, Preprocess{}, Shape{3, 4, 4}, LoaderOptions{Batch: 4})
	}
	after, _ := os.ReadDir(".")
	if len(before) != len(after) {
		t.Error("something was unpacked")
	}
	sized := pictures(20, "a")
	sized["a/empty.png"] = nil
	for name, data := range map[string][]byte{"x.tar": sized.tar(t), "x.tgz": gz(sized.tar(t))} {
		s := mustOpen(t, filepath.Join(files{name: data}.write(t), name), OpenOptions{})
		if sk := s.Skipped(); len(sk) != 1 || sk[0].Reason != "the file is empty" {
			t.Errorf("%s: skipped %v", name, sk)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	delete(sized, "a/empty.png")
	sized["a/large.png"] = append(picture(4, 4, 1), make([]byte, 5000)...)
	for name, data := range map[string][]byte{"x.tar": sized.tar(t), "x.tgz": gz(sized.tar(t))} {
		s := mustOpen(t, filepath.Join(files{name: data}.write(t), name), OpenOptions{MaxImageBytes: 4000})
		if sk := s.Skipped(); len(sk) != 1 {
			t.Errorf("%s: skipped %v", name, sk)
		}
	}
}

func TestImageNetSample(t *testing.T) {
	dir := "../../shared/data/imagenet-sample-1000"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the ImageNet sample is not there")
	}
	s := mustOpen(t, dir, OpenOptions{})
	all := mustSplit(t, s, All)
	if all.Len() != 1000 || !all.Labelled() || len(s.Classes) != 1000 || s.Classes[1] != "goldfish" || !s.HeldOut || len(s.eval) != 100 {
		t.Errorf("%d images, %d classes, %d held out", all.Len(), len(s.Classes), len(s.eval))
	}
	if err := all.CheckLabels(1000); err != nil {
		t.Error(err)
	}
}

func TestCIFAR10(t *testing.T) {
	file := "../../shared/data/cifar10/cifar10-test.tar.gz"
	if _, err := os.Stat(file); err != nil {
		t.Skip("CIFAR-10 is not there")
	}
	s := mustOpen(t, file, OpenOptions{})
	if e := mustSplit(t, s, Eval); e.Len() != 10_000 || s.Classes[0] != "airplane" || s.Classes[9] != "truck" || e.Label(9999) != 9 {
		t.Errorf("%d images, classes %v", e.Len(), s.Classes)
	}
}
