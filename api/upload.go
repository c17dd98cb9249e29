package api

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/recon/statement"
)

// Files are larger than other bodies: they are spooled to the disk of temporary
// files, and read from there. No file is in memory.
const (
	// arriveWithin bounds how long a file may be on its way, judgeWithin what is done
	// with it then.
	arriveWithin = access.BodyMax
	judgeWithin  = 80 * time.Second
	// uploadsMax bounds the files of one node: this many times statement.BytesMax is
	// what they take of the disk.
	uploadsMax = 4
)

// upload is a file that came as a body.
type upload struct {
	file *os.File
	sum  [sha256.Size]byte
}

// upload returns the body as a file, which is there until the request ends.
func (c *call) upload() (*os.File, error) {
	if c.spooled == nil {
		if err := c.spool(); err != nil {
			return nil, err
		}
	}
	if _, err := c.spooled.file.Seek(0, io.SeekStart); err != nil {
		return nil, fault.New(fault.Internal, "").WithOp("api.upload").WithCause(err)
	}
	return c.spooled.file, nil
}

// spool takes the body, hashing it. Whoever calls it has an idea of who sends it: a
// stranger gets no place on the disk.
func (c *call) spool() error {
	if c.r.ContentLength > statement.BytesMax {
		return tooLong()
	}
	select {
	case c.s.uploads <- struct{}{}:
	default:
		return fault.New(fault.Overloaded, fmt.Sprintf("%d files are being taken already", uploadsMax)).WithRetryAfter(10 * time.Second)
	}
	file, err := os.CreateTemp("", "moneta-upload-*")
	if err != nil {
		<-c.s.uploads
		return fault.New(fault.Internal, "").WithOp("api.upload").WithCause(err)
	}
	c.spooled = &upload{file: file}
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(arriveWithin)) //nolint:forbidigo // a deadline of the connection; not every writer has one: tests
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(c.r.Body, statement.BytesMax+1))
	c.mayTake(judgeWithin)
	switch {
	case n > statement.BytesMax:
		return tooLong()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.Timeout, "the file did not arrive in time").WithMoneyState(fault.NotMoved).WithCause(err)
	case err != nil:
		return fault.New(fault.MalformedRequest, "the body ended early").WithCause(err)
	}
	hash.Sum(c.spooled.sum[:0])
	return nil
}

func tooLong() error {
	return fault.New(fault.BodyTooLarge, fmt.Sprintf("a file may have %d bytes", statement.BytesMax))
}

// dropUpload removes the file.
func (c *call) dropUpload() {
	if c.spooled == nil {
		return
	}
	if err := errors.Join(c.spooled.file.Close(), os.Remove(c.spooled.file.Name())); err != nil {
		c.s.Logger.WarnContext(c.r.Context(), "an uploaded file was not removed", slogError(err))
	}
	c.spooled = nil
	<-c.s.uploads
}
