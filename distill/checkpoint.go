package distill

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/qvitc/qvitc/ir"
)

// A checkpoint is one file:
//
//	"QVITCKP1"  header length u32  header (JSON)
//	float32 tensors, little-endian, in the header's order
//	"QVITCEND"  length u64 of all before  SHA-256 of all before
//
// The tensors are the parameters, Adam's m and v, and the average where it is
// on, each in the order of Params.
const (
	checkpointMagic   = "QVITCKP1"
	checkpointEnd     = "QVITCEND"
	checkpointVersion = 1
	maxHeader         = 16 << 20
	trailerLen        = 8 + 8 + sha256.Size
)

// checkpointHeader is the state beside the tensors, and what the run must share
// with the one that resumes it.
type checkpointHeader struct {
	Version int    `json:"version"`
	Model   string `json:"model"`  // hash of student (without its parameters' values) and teacher
	Config  string `json:"config"` // hash of the options that change the numbers, and of the data's shape

	Step    int       `json:"step"` // finished steps
	Steps   int       `json:"steps"`
	Epoch   float64   `json:"epoch"`
	Updates int       `json:"updates"`
	Skipped int       `json:"skipped"`
	InRow   int       `json:"in_row"` // outliers skipped without a step between them
	Window  []float64 `json:"window"` // losses that outliers are judged by
	Recent  Parts     `json:"recent"` // running mean of the loss, as reported
	Curve   []Point   `json:"curve"`  // of the result, so far

	Params []checkpointParam `json:"params"`
	Groups []string          `json:"groups"` // "param", "m", "v", "ema"
}

type checkpointParam struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
}

// checkpoint is a header with its tensors: tensors[group][param].
type checkpoint struct {
	checkpointHeader
	tensors [][][]float32
}

// write puts the whole file out.
func (c *checkpoint) write(w io.Writer) error {
	head, err := json.Marshal(&c.checkpointHeader)
	if err != nil {
		return fmt.Errorf("checkpoint header: %w", err)
	}
	if len(head) > maxHeader {
		return fmt.Errorf("checkpoint header of %d bytes: the limit is %d", len(head), maxHeader)
	}
	sum := sha256.New()
	var written uint64
	put := func(b []byte) error {
		sum.Write(b)
		written += uint64(len(b))
		_, err := w.Write(b)
		return err
	}
	start := append([]byte(checkpointMagic), binary.LittleEndian.AppendUint32(nil, uint32(len(head)))...)
	if err := put(append(start, head...)); err != nil {
		return err
	}
	buf := make([]byte, 0, 64<<10)
	for _, group := range c.tensors {
		for _, t := range group {
			for _, x := range t {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
				if len(buf) == cap(buf) {
					if err := put(buf); err != nil {
						return err
					}
					buf = buf[:0]
				}
			}
		}
	}
	if err := put(buf); err != nil {
		return err
	}
	end := binary.LittleEndian.AppendUint64([]byte(checkpointEnd), written)
	_, err = w.Write(append(end, sum.Sum(nil)...))
	return err
}

var errTruncated = errors.New("the file is cut short")

// readCheckpoint reads a file of the given size and proves its checksum.
func readCheckpoint(r io.Reader, size int64) (*checkpoint, error) {
	sum := sha256.New()
	var done int64
	body := size - trailerLen
	take := func(b []byte) error {
		if int64(len(b)) > body-done {
			return errTruncated
		}
		if _, err := io.ReadFull(r, b); err != nil {
			return truncated(err)
		}
		done += int64(len(b))
		sum.Write(b)
		return nil
	}
	var start [len(checkpointMagic) + 4]byte
	if err := take(start[:]); err != nil {
		return nil, err
	}
	if string(start[:len(checkpointMagic)]) != checkpointMagic {
		return nil, errors.New("it is not a checkpoint of this tool")
	}
	n := int64(binary.LittleEndian.Uint32(start[len(checkpointMagic):]))
	if n > maxHeader {
		return nil, fmt.Errorf("its header claims %d bytes: the limit is %d", n, maxHeader)
	}
	if n > body-done {
		return nil, errTruncated
	}
	head := make([]byte, n)
	if err := take(head); err != nil {
		return nil, err
	}
	c := &checkpoint{}
	if err := json.Unmarshal(head, &c.checkpointHeader); err != nil {
		return nil, errors.New("its header is damaged")
	}
	if c.Version != checkpointVersion {
		return nil, fmt.Errorf("it has format version %d, this version of qvitc reads %d", c.Version, checkpointVersion)
	}
	if err := c.plausible(body - done); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	for range c.Groups {
		var group [][]float32
		for _, p := range c.Params {
			n, _ := ir.NumElems(p.Shape)
			t := make([]float32, n)
			for at := 0; at < n; {
				b := buf[:min(len(buf), 4*(n-at))]
				if err := take(b); err != nil {
					return nil, err
				}
				for ; len(b) > 0; b, at = b[4:], at+1 {
					t[at] = math.Float32frombits(binary.LittleEndian.Uint32(b))
				}
			}
			group = append(group, t)
		}
		c.tensors = append(c.tensors, group)
	}
	want := binary.LittleEndian.AppendUint64([]byte(checkpointEnd), uint64(done))
	want = sum.Sum(want)
	got := make([]byte, trailerLen)
	if _, err := io.ReadFull(r, got); err != nil {
		return nil, truncated(err)
	}
	if !bytes.Equal(got, want) {
		return nil, errors.New("its checksum does not fit: the file is damaged")
	}
	return c, nil
}

// plausible checks the header's counts against the bytes that follow, before any
// tensor is allocated.
func (c *checkpoint) plausible(rest int64) error {
	damaged := errors.New("its header is damaged")
	if c.Step < 0 || c.Steps < c.Step || c.Updates < 0 || c.Updates > c.Step || c.Skipped < 0 || len(c.Window) > outlierWindow || len(c.Curve) > 2*curvePoints || len(c.Groups) > 4 {
		return damaged
	}
	var total int64
	for _, p := range c.Params {
		n, err := ir.ByteSize(p.Shape, ir.Float32)
		if err != nil || n == 0 || int64(n) > rest-total {
			return errTruncated
		}
		total += int64(n)
	}
	if len(c.Groups) == 0 || total != rest/int64(len(c.Groups)) || rest%int64(len(c.Groups)) != 0 {
		return errTruncated
	}
	return nil
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTruncated
	}
	return err
}
