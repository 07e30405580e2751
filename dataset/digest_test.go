package dataset

import (
	"os"
	"path/filepath"
	"testing"
)

// The digest changes with a pixel, a label and a name, and with nothing else.
func TestDigest(t *testing.T) {
	set := func(change func(images, labels []byte)) string {
		images, labels := idx(1, 4, 6, 5), idxLabels(0, 1, 2, 3)
		if change != nil {
			change(images, labels)
		}
		dir := files{trainImages: images, trainLabels: labels, testImages: idx(0, 1, 6, 5)}.write(t)
		return mustSplit(t, mustOpen(t, dir, OpenOptions{}), Train).Digest()
	}
	same := set(nil)
	if set(nil) != same || len(same) != 64 {
		t.Error("the same images in another folder have another digest")
	}
	if set(func(images, _ []byte) { images[len(images)-1]++ }) == same {
		t.Error("another pixel has the same digest")
	}
	if set(func(_, labels []byte) { labels[len(labels)-1]-- }) == same {
		t.Error("another label has the same digest")
	}
}

func TestDigestOfFiles(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"a/1.png", "a/2.png", "b/3.png"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, picture(8, 6, i), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	digest := func() string { return mustSplit(t, mustOpen(t, dir, OpenOptions{}), All).Digest() }
	before := digest()
	if digest() != before {
		t.Error("opened twice, two digests")
	}
	if err := os.WriteFile(filepath.Join(dir, "a/2.png"), picture(8, 6, 9), 0o666); err != nil {
		t.Fatal(err)
	}
	if digest() == before {
		t.Error("another picture has the same digest")
	}
}
