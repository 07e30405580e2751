package kernel

import "math"

// Constants of the exponential: exp(x) = 2^n * (1 + r + r²·P(r)) with
// n = round(x·log2e) and r = x - n·ln2 (ln2 split in two for exactness).
const (
	log2e  = 1.4426950408889634
	ln2Hi  = 0.693359375
	ln2Lo  = -2.12194440e-4
	expMax = 89   // above: +Inf in float32
	expMin = -104 // below: 0 in float32

	expP0 = 0.4999999403953552
	expP1 = 0.1666651964187622
	expP2 = 0.041668400168418884
	expP3 = 0.008368837647140026
	expP4 = 0.0013814348494634032
)

// Constants of erf. For |x| < erfSplit: x + x·S(x²); beyond:
// sign(x)·(1 - exp(L(|x|))), where L fits ln(erfc).
const (
	erfSplit = 0.9
	erfEnd   = 4.2 // erf rounds to 1 from 3.92 on

	erfS0 = 0.12837916709551256
	erfS1 = -0.37612634897232056
	erfS2 = 0.11283715069293976
	erfS3 = -0.02686050906777382
	erfS4 = 0.00520385941490531
	erfS5 = -0.0008175641996785998
	erfS6 = 8.513114153174683e-05

	erfL0 = -0.00017749480321072042
	erfL1 = -1.1277495622634888
	erfL2 = -0.63705974817276
	erfL3 = -0.10403735935688019
	erfL4 = 0.02227708511054516
	erfL5 = -0.0030556072015315294
	erfL6 = 0.00019718168186955154
)

// Constants of tanh. For |x| < tanhSplit: x + x·x²·P(x²); beyond:
// sign(x)·(1 - 2/(exp(2|x|)+1)).
const (
	tanhSplit = 0.625
	tanhEnd   = 10 // tanh rounds to 1 from 9.02 on

	tanhP0 = -0.3333328068256378
	tanhP1 = 0.13331441581249237
	tanhP2 = -0.05373971536755562
	tanhP3 = 0.02063908614218235
	tanhP4 = -0.005704985000193119
)

// Exp writes e^x for each element. Relative error below 2e-7 wherever the
// result is a normal float32; gradual underflow to 0, overflow to +Inf, NaN
// stays NaN. (ONNX Exp-13.)
func Exp(dst, x []float32) {
	need("x", len(x), len(dst))
	active.exp(dst, x[:len(dst)])
}

// Erf writes the error function of each element, absolute error below 2e-7
// and relative error below 3e-7. (ONNX Erf-13.)
func Erf(dst, x []float32) {
	need("x", len(x), len(dst))
	active.erf(dst, x[:len(dst)])
}

// Tanh writes the hyperbolic tangent of each element, relative error below
// 3e-7. (ONNX Tanh-13.)
func Tanh(dst, x []float32) {
	need("x", len(x), len(dst))
	active.tanh(dst, x[:len(dst)])
}

func expGo(dst, x []float32) {
	for i, v := range x[:len(dst)] {
		dst[i] = exp32(v)
	}
}

func erfGo(dst, x []float32) {
	for i, v := range x[:len(dst)] {
		dst[i] = erf32(v)
	}
}

func tanhGo(dst, x []float32) {
	for i, v := range x[:len(dst)] {
		dst[i] = tanh32(v)
	}
}

// roundMagic added to and taken from a float32 of magnitude below 2^22 rounds
// it half to even.
const roundMagic = 3 << 22

func exp32(x float32) float32 {
	if x > expMax {
		x = expMax
	}
	if x < expMin {
		x = expMin
	}
	n := (float32(x*log2e) + roundMagic) - roundMagic
	r := x - float32(n*ln2Hi)
	r -= float32(n * ln2Lo)
	p := float32(expP4)
	p = p*r + expP3
	p = p*r + expP2
	p = p*r + expP1
	p = p*r + expP0
	p = r*r*p + r + 1
	if n != n {
		return n
	}
	// Two factors, so that neither leaves the normal range.
	k := int32(n)
	h := k >> 1
	return p * math.Float32frombits(uint32(h+127)<<23) * math.Float32frombits(uint32(k-h+127)<<23)
}

func erf32(x float32) float32 {
	a := x
	if a < 0 {
		a = -a
	}
	if a < erfSplit {
		t := x * x
		p := float32(erfS6)
		p = p*t + erfS5
		p = p*t + erfS4
		p = p*t + erfS3
		p = p*t + erfS2
		p = p*t + erfS1
		p = p*t + erfS0
		return x*p + x
	}
	if a > erfEnd {
		a = erfEnd
	}
	p := float32(erfL6)
	p = p*a + erfL5
	p = p*a + erfL4
	p = p*a + erfL3
	p = p*a + erfL2
	p = p*a + erfL1
	p = p*a + erfL0
	p = 1 - exp32(p)
	if x < 0 {
		return -p
	}
	return p
}

func tanh32(x float32) float32 {
	a := x
	if a < 0 {
		a = -a
	}
	if a < tanhSplit {
		t := x * x
		p := float32(tanhP4)
		p = p*t + tanhP3
		p = p*t + tanhP2
		p = p*t + tanhP1
		p = p*t + tanhP0
		return p*t*x + x
	}
	if a > tanhEnd {
		a = tanhEnd
	}
	a = 1 - 2/(exp32(a+a)+1)
	if x < 0 {
		return -a
	}
	return a
}
