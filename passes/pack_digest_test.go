package passes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// bigPack packs codes the slow way, as one large number: code i, plus shift,
// stands at bit i*bits. The number is written lowest byte first, on size bytes.
func bigPack(codes []int32, bits int, shift int64, size int) []byte {
	n, mask := new(big.Int), big.NewInt(1<<bits-1)
	for i, c := range codes {
		u := big.NewInt(int64(c) + shift)
		n.Or(n, u.And(u, mask).Lsh(u, uint(i*bits)))
	}
	b := n.FillBytes(make([]byte, size))
	for i := range size / 2 {
		b[i], b[size-1-i] = b[size-1-i], b[i]
	}
	return b
}

// goldenCodes are the codes of a row of length k: every code of the width occurs.
func goldenCodes(k, bits int) []int32 {
	out := make([]int32, k)
	for i := range out {
		out[i] = int32((i*i*7+i*3+k)%(1<<bits)) - int32(1)<<(bits-1)
	}
	return out
}

// TestPackDigests fixes the bytes of every way to store codes, for rows of each
// length 0..257 at each width: against a packer of another make, and against
// digests of all rows in order that must never change.
func TestPackDigests(t *testing.T) {
	want := map[string]string{
		"packed 2": "8b8ad5dbac1226e4", "packed 3": "55a3af6ae19a6b95", "packed 4": "009eb7f4952dfa17", "packed 8": "130ca678c9b7a0fa",
		"i2": "a13c3502e787a9ef", "i4": "e78dd8ed0f549e7e", "i8": "130ca678c9b7a0fa", "u2": "274edf589277d51c", "u4": "e59a61c8a5cd97ac", "u8": "e9322c6d34d90190",
	}
	have := map[string][]byte{}
	for k := range 258 {
		for _, bits := range []int{2, 3, 4, 8} {
			codes := goldenCodes(k, bits)
			row := make([]int8, k)
			for i, c := range codes {
				row[i] = int8(c)
			}
			p, err := PackWeights(row, 1, k, bits)
			if err != nil {
				t.Fatal(err)
			}
			var got, other []byte
			if bits == 8 {
				for _, c := range ir.Data[int8](p) {
					got = append(got, byte(c))
				}
				other = bigPack(codes, 8, 0, k)
			} else {
				group, bytes, _ := packGroup(bits)
				full := append([]int32{}, codes...)
				for len(full)%group != 0 {
					full = append(full, 0)
				}
				got, other = ir.Data[uint8](p), bigPack(full, bits, 1<<(bits-1), len(full)/group*bytes)
			}
			if string(got) != string(other) {
				t.Fatalf("packed, %d bits, %d codes: %x, want %x", bits, k, got, other)
			}
			key := fmt.Sprintf("packed %d", bits)
			have[key] = append(have[key], got...)
		}
		for _, e := range []ir.Elem{ir.Int2, ir.Int4, ir.Int8, ir.Uint2, ir.Uint4, ir.Uint8} {
			codes := goldenCodes(k, e.Bits())
			if !e.IsSigned() {
				for i := range codes {
					codes[i] += 1 << (e.Bits() - 1)
				}
			}
			tensor := codeTensor(e, codes, k)
			got, _ := tensor.Raw().([]uint8)
			for _, c := range ir.Data[int8](tensor) {
				got = append(got, byte(c))
			}
			if other := bigPack(codes, e.Bits(), 0, (k*e.Bits()+7)/8); string(got) != string(other) {
				t.Fatalf("%v, %d codes: %x, want %x", e, k, got, other)
			}
			have[e.String()] = append(have[e.String()], got...)
		}
	}
	for key, digest := range want {
		sum := sha256.Sum256(have[key])
		if got := hex.EncodeToString(sum[:8]); got != digest {
			t.Errorf("%q: %q,", key, got)
		}
	}
}

// TestDocumentedBytes packs the worked example of docs/formats.md.
func TestDocumentedBytes(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "formats.md"))
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, c := range []struct{ bits, k int }{{4, 20}, {3, 37}, {2, 60}} {
		q := make([]int8, c.k)
		for k := range q {
			q[k] = int8((7*k+3)%(1<<c.bits) - 1<<(c.bits-1))
		}
		p, err := PackWeights(q, 1, c.k, c.bits)
		if err != nil {
			t.Fatal(err)
		}
		row := fmt.Sprintf("| %d | %d | `% X` |", c.bits, c.k, ir.Data[uint8](p))
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/formats.md lacks %s", row)
		}
		total += p.Len()
	}
	if total != 40 {
		t.Errorf("the example has %d bytes", total)
	}
}
