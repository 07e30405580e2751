package main

import "fmt"

// unpack emits the unpacking of stored codes of a panel, 256 at a time: see pack256 of the
// kernel package. Byte i of 32 holds a code of byte i of each of 32/bits vectors of 32
// bytes, the first in its lowest bits; the third bits of 3-bit codes follow, one of each of
// the eight vectors in a byte.
func (e *emitter) unpack(bits int) {
	e.function(fmt.Sprint("unpack", bits), fmt.Sprintf("unpacks groups of 256 codes of %d bits to signed bytes.", bits),
		[]arg{{"dst", "*uint8"}, {"src", "*uint8"}, {"groups", "int"}})
	const codes, third, fields, thirds, half, out = 0, 2, 4, 5, 6, 7
	field := bits
	if bits == 3 {
		field = 2
	}
	e.ins("VMOVI $%d, V%d.B16", 1<<field-1, fields)
	e.ins("VMOVI $4, V%d.B16", thirds)
	e.ins("VMOVI $%d, V%d.B16", 1<<(bits-1), half)
	e.loop(2, func() {
		if bits == 3 {
			e.ins("FLDPQ 64(R1), (F%d, F%d)", third, third+1)
		}
		per := 8 / field
		for chunk := range field {
			e.ins("FLDPQ.P 32(R1), (F%d, F%d)", codes, codes+1)
			for t := range per {
				for v := range 2 {
					d, s := out+v, codes+v
					if t > 0 {
						e.ins("VUSHR $%d, V%d.B16, V%d.B16", field*t, s, d)
						s = d
					}
					if t < per-1 {
						e.ins("VAND V%d.B16, V%d.B16, V%d.B16", fields, s, d)
					}
					if bits == 3 {
						const bit = out + 2
						s := third + v
						switch at := per*chunk + t; {
						case at < 2:
							e.ins("VSHL $%d, V%d.B16, V%d.B16", 2-at, s, bit)
							s = bit
						case at > 2:
							e.ins("VUSHR $%d, V%d.B16, V%d.B16", at-2, s, bit)
							s = bit
						}
						e.ins("VAND V%d.B16, V%d.B16, V%d.B16", thirds, s, bit)
						e.ins("VORR V%d.B16, V%d.B16, V%[2]d.B16", bit, d)
					}
					e.ins("VSUB V%d.B16, V%d.B16, V%[2]d.B16", half, d)
				}
				e.ins("FSTPQ.P (F%d, F%d), 32(R0)", out, out+1)
			}
		}
		if bits == 3 {
			e.ins("ADD $32, R1")
		}
	})
}
