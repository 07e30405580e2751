package doctor

import (
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// nbits checks a com.microsoft MatMulNBits.
func (c *checker) nbits(n *ir.Node) {
	if n.Domain != microsoft || n.Op != "MatMulNBits" {
		return
	}
	bits := n.Attrs.Int("bits", 4)
	if !slices.Contains([]int{2, 4, 8}, bits) {
		c.at(nbitsWidth, span{}, n.Label(), "", fmt.Sprintf("MatMulNBits of %d bits has no kernel", bits))
	}
	if z := n.Input(3); z != nil && z.Type.Elem.IsFloat() {
		switch bits {
		case 8:
			c.at(nbitsFloatZero, span{}, n.Label(), z.Name, "MatMulNBits of 8 bits with float zero points")
		case 2:
			c.at(nbitsFloatZero, span{until: 1026}, n.Label(), z.Name, "MatMulNBits of 2 bits with float zero points")
		}
	}
	if n.Attrs.Int("accuracy_level", 0) == 4 {
		c.at(nbitsAccuracy, span{}, n.Label(), "", "")
	}
}
