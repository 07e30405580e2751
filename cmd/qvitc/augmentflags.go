package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/qvitc/qvitc/dataset"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// augmentPresets are what --augment takes. The frame is for images of 32 pixels
// and grows with the image.
var augmentPresets = map[string]dataset.Augment{
	"off":    {},
	"light":  {Flip: true, Pad: 4},
	"medium": {Flip: true, Pad: 4, RandOps: 1, RandStrength: 5, Erase: 0.1},
	"strong": {Flip: true, Pad: 4, RandOps: 2, RandStrength: 9, Erase: 0.25, Mixup: 0.8, CutMix: 1},
}

// augmentFlags change training images at random: a preset and single values over it.
type augmentFlags struct {
	preset string
	single dataset.Augment
	flags  *pflag.FlagSet // to see which were given
	side   int            // of the model's image, set once it is known
}

func (a *augmentFlags) add(c *cobra.Command) {
	f := c.Flags()
	a.flags = f
	if a.preset == "" {
		a.preset = "off"
	}
	f.StringVar(&a.preset, "augment", a.preset, "change training images at random: off, light, medium or strong; the flags below change single parts")
	f.BoolVar(&a.single.Flip, "flip", false, "augment by horizontal flips")
	f.IntVar(&a.single.Pad, "crop-pad", 0, "augment by random crops after padding this many pixels")
	f.Float64Var(&a.single.MinArea, "crop-area", 0, "augment by random crops of at least this part of the area, stretched (0: off)")
	f.IntVar(&a.single.RandOps, "rand-ops", 0, "operations of RandAugment on each image")
	f.Float64Var(&a.single.RandStrength, "rand-strength", 9, "their strength, 0 to 10")
	f.Float64Var(&a.single.Erase, "erase", 0, "part of the images with a rectangle erased")
	f.Float64Var(&a.single.Mixup, "mixup", 0, "blend pairs of images and labels by shares from Beta(a, a) (0: off)")
	f.Float64Var(&a.single.CutMix, "cutmix", 0, "swap rectangles between pairs of images by shares from Beta(a, a) (0: off)")
}

func (a *augmentFlags) check() error {
	if _, ok := augmentPresets[a.preset]; !ok {
		return failf(exitUsage, "", "--augment %s: want %s", strconv.Quote(a.preset), strings.Join(slices.Sorted(maps.Keys(augmentPresets)), ", "))
	}
	s := a.single
	for _, f := range []struct {
		name string
		ok   bool
		want string
	}{
		{"crop-pad", s.Pad >= 0, "0 or more"},
		{"crop-area", s.MinArea >= 0 && s.MinArea <= 1, "a part from 0 to 1"},
		{"rand-ops", s.RandOps >= 0 && s.RandOps <= 16, "0 to 16"},
		{"rand-strength", s.RandStrength >= 0 && s.RandStrength <= 10, "0 to 10"},
		{"erase", s.Erase >= 0 && s.Erase <= 1, "a part from 0 to 1"},
		{"mixup", s.Mixup >= 0 && s.Mixup <= 2, "0 to 2"},
		{"cutmix", s.CutMix >= 0 && s.CutMix <= 2, "0 to 2"},
	} {
		if !f.ok {
			return failf(exitUsage, "", "--%s: want %s", f.name, f.want)
		}
	}
	return nil
}

// resolved is the preset with the flags that were given over it.
func (a *augmentFlags) resolved() dataset.Augment {
	out := augmentPresets[a.preset]
	if a.side > 32 {
		out.Pad = out.Pad * a.side / 32
	}
	given := func(name string) bool { return a.flags != nil && a.flags.Changed(name) }
	for _, f := range []struct {
		name string
		set  func()
	}{
		{"flip", func() { out.Flip = a.single.Flip }},
		{"crop-pad", func() { out.Pad = a.single.Pad }},
		{"crop-area", func() { out.MinArea = a.single.MinArea }},
		{"rand-ops", func() { out.RandOps = a.single.RandOps }},
		{"rand-strength", func() { out.RandStrength = a.single.RandStrength }},
		{"erase", func() { out.Erase = a.single.Erase }},
		{"mixup", func() { out.Mixup = a.single.Mixup }},
		{"cutmix", func() { out.CutMix = a.single.CutMix }},
	} {
		if given(f.name) {
			f.set()
		}
	}
	if out.RandOps > 0 && out.RandStrength == 0 && !given("rand-strength") {
		out.RandStrength = a.single.RandStrength
	}
	if out.RandOps == 0 {
		out.RandStrength = 0
	}
	return out
}

func (a *augmentFlags) recipe(r map[string]string) {
	s := a.resolved()
	r["augment"] = a.preset
	r["flip"], r["crop-pad"], r["rand-ops"] = strconv.FormatBool(s.Flip), strconv.Itoa(s.Pad), strconv.Itoa(s.RandOps)
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	r["crop-area"], r["rand-strength"], r["erase"] = number(s.MinArea), number(s.RandStrength), number(s.Erase)
	r["mixup"], r["cutmix"] = number(s.Mixup), number(s.CutMix)
}
