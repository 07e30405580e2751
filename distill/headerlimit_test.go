package distill

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
)

// A header of 16 MiB is read, one byte more is not; the writer keeps the same limit.
func TestCheckpointHeaderLimit(t *testing.T) {
	b := encode(t, sampleCheckpoint(7))
	start := len(checkpointMagic) + 4
	n := int(binary.LittleEndian.Uint32(b[len(checkpointMagic):]))
	padded := func(size int) []byte { // JSON may end in spaces
		p := binary.LittleEndian.AppendUint32([]byte(checkpointMagic), uint32(size))
		p = append(p, b[start:start+n]...)
		p = append(p, bytes.Repeat([]byte(" "), size-n)...)
		p = append(p, b[start+n:len(b)-trailerLen]...)
		sum := sha256.Sum256(p)
		p = binary.LittleEndian.AppendUint64(append(p, checkpointEnd...), uint64(len(p)))
		return append(p, sum[:]...)
	}
	if c, err := decode(padded(maxHeader)); err != nil || c.Step != 7 {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := decode(padded(maxHeader + 1)); err == nil || !strings.Contains(err.Error(), "the limit is 16777216") {
		t.Errorf("past the limit: %v", err)
	}
	c := sampleCheckpoint(7)
	c.Model = strings.Repeat("m", maxHeader-n+1)
	if err := c.write(&bytes.Buffer{}); err != nil {
		t.Errorf("writing at the limit: %v", err)
	}
	c.Model += "m"
	if err := c.write(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "the limit is 16777216") {
		t.Errorf("writing past the limit: %v", err)
	}
}
