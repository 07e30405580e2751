package passes_test

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// static makes a student with IRM of the form static whose constants are
// random, gains above zero.
func static(t *testing.T, g *ir.Graph) *ir.Graph {
	t.Helper()
	student, _ := g.Clone()
	plan := passes.DefaultPlan(8, 8)
	plan.IRM = passes.IRMStatic
	d := passes.Driver{Check: true, ReproDir: t.TempDir()}
	if _, err := d.Run(student, passes.Quantize(plan)); err != nil {
		t.Fatal(err)
	}
	setScales(student)
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range student.Consts() {
		for suffix, lo := range map[string]float32{".mean": -0.5, ".spread": 0.5, ".gamma": 0.5, ".beta": -0.5} {
			if strings.Contains(v.Name, "irm_") && strings.HasSuffix(v.Name, suffix) {
				for i := range v.Const.F32() {
					v.Const.F32()[i] = lo + r.Float32()
				}
			}
		}
	}
	return student
}

// The fold keeps the function, whichever exporter wrote the graph.
func TestFoldIRM(t *testing.T) {
	dirs, _ := filepath.Glob(models + "/*/model.onnx")
	if len(dirs) == 0 {
		t.Skip("the shared models are not there")
	}
	for _, path := range dirs {
		name := filepath.Base(filepath.Dir(path))
		if strings.Contains(name, "op14") || name == "vit-tiny-in1k" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			g := loadModel(t, name)
			clean(t, g)
			student := static(t, g)
			before, _ := student.Clone()
			blocks := wantRoles(name)["blocks"]
			moved, left, err := passes.FoldIRM(student)
			if err != nil || moved != 2*blocks || left != 0 {
				t.Fatalf("moved %d, left %d of %d: %v", moved, left, 2*blocks, err)
			}
			if err := student.Check(); err != nil {
				t.Fatal(err)
			}
			for n := range student.Nodes() {
				if n.Role.Kind == ir.RoleIRMQ || n.Role.Kind == ir.RoleIRMK {
					t.Errorf("%s stays", n.Name)
				}
			}
			if testing.Short() || !strings.HasSuffix(name, "op17-dyn") {
				return
			}
			if d := difference(t, before, student, image(g, 3)); d > 0.02 {
				t.Errorf("the fold changes the function by %g", d)
			}
		})
	}
}

// A gain that is not above zero, and a projection that somebody else reads, stay.
func TestFoldIRMLeaves(t *testing.T) {
	g, err := ir.Parse(exporterText(attentions["dynamo"], plainMLP), ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	clean(t, g)
	student := static(t, g)
	for _, v := range student.Consts() {
		if strings.Contains(v.Name, "irm_q") && strings.HasSuffix(v.Name, ".gamma") {
			v.Const.F32()[1] = -1
		}
	}
	if moved, left, err := passes.FoldIRM(student); moved != 1 || left != 1 || err != nil {
		t.Errorf("moved %d, left %d, %v", moved, left, err)
	}
	if err := student.Check(); err != nil {
		t.Fatal(err)
	}
}
