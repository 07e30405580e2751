package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// inverse is a quantiser that multiplies, see kernel's WithInverse. zero is of 32-bit
// integers and nil where it is 0; lo is nil where no value lies below it.
type inverse struct{ alpha, inv, lo, hi, zero reg.VecVirtual }

// codes turns values into codes of 32 bits. NaN becomes lo: the limit is the second
// source of the maximum.
func (z inverse) codes(m machine, v reg.VecVirtual) {
	if z.lo != nil {
		VMAXPS(z.lo, v, v)
	}
	VMINPS(z.hi, v, v)
	q := m.vec()
	VMULPS(z.inv, v, q)
	VFNMADD231PS(z.alpha, q, v)
	VFMADD213PS(q, z.inv, v)
	VCVTPS2DQ(v, v)
	if z.zero != nil {
		VPADDD(z.zero, v, v)
	}
}
