package prove

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// Effect is one movement in a rail's own books: money that really went.
type Effect struct {
	// Reference is what the movement quotes.
	Reference string `json:"reference"`
	// Direction is out or in, seen from the wallet.
	Direction string `json:"direction"`
	// Return marks money that goes back the way it came.
	Return bool `json:"return"`
	// Amount and Fee are in the asset's smallest unit.
	Amount money.Amount `json:"amount"`
	Fee    money.Amount `json:"fee"`
	Asset  string       `json:"asset"`
	// At is when the rail executed it, by its clock.
	At time.Time `json:"executed_at"`
	// ID is the rail's own name for it.
	ID string `json:"bank_id"`
}

// Books are one rail's own books. An implementation reads them whole, from their
// beginning to their end, or returns an error: a part proves nothing.
type Books interface {
	// Channel is the rail's name in the ledger.
	Channel() string
	// Source says in a few words where the books are.
	Source() string
	// Effects hands every movement to take, in the books' order.
	Effects(ctx context.Context, take func(Effect) error) error
}

// Bounds of reading books.
const (
	booksPage    = 5_000
	booksBytes   = 8 << 20 // of one page
	booksWithin  = 30 * time.Second
	booksTries   = 3
	booksBackoff = 300 * time.Millisecond
	lineMax      = 1 << 20 // of one line of a file
	textMax      = 256     // of a reference or an id that is kept
)

// HTTPBooks reads books as the sandbox's banks offer them: GET URL?after=&limit= in
// pages of effects with next and has_more. It never asks for anything but that URL.
type HTTPBooks struct {
	Name, URL string
	Client    *http.Client
	// Guessed says that nobody named this rail: when the ledger never used it and it
	// does not answer, nothing is missing.
	Guessed bool
}

// Channel implements Books.
func (b *HTTPBooks) Channel() string { return b.Name }

// Source implements Books.
func (b *HTTPBooks) Source() string { return b.URL }

// Effects implements Books. A page is asked for three times before the rail counts
// as one that does not answer.
func (b *HTTPBooks) Effects(ctx context.Context, take func(Effect) error) error {
	for after := int64(0); ; {
		var page booksPageBody
		var err error
		for try := range booksTries {
			if page, err = b.page(ctx, after); err == nil || ctx.Err() != nil {
				break
			}
			if e := wait(ctx, booksBackoff<<try); e != nil {
				return e
			}
		}
		if err != nil {
			return err
		}
		if int64(len(page.Effects)) != page.Next-after || page.More && page.Next <= after {
			return fmt.Errorf("the page after %d has %d movements and ends at %d: it is not whole", after, len(page.Effects), page.Next)
		}
		for i, e := range page.Effects {
			if e.Seq != after+int64(i)+1 {
				return fmt.Errorf("movement %d follows %d: one is missing", e.Seq, after+int64(i))
			}
			if err := take(e.Effect); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
		after = page.Next
	}
}

type booksPageBody struct {
	Effects []struct {
		Seq int64 `json:"seq"`
		Effect
	} `json:"effects"`
	Next int64 `json:"next"`
	More bool  `json:"has_more"`
}

func (b *HTTPBooks) page(ctx context.Context, after int64) (page booksPageBody, err error) {
	ctx, cancel := context.WithTimeout(ctx, booksWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+"?after="+strconv.FormatInt(after, 10)+"&limit="+strconv.Itoa(booksPage), nil)
	if err != nil {
		return page, err
	}
	client := b.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return page, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return page, fmt.Errorf("its books answer %s", resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, booksBytes+1))
	switch {
	case err != nil:
		return page, err
	case len(raw) > booksBytes:
		return page, fmt.Errorf("a page of its books has more than %d bytes", booksBytes)
	}
	page.Next = -1
	if err := json.Unmarshal(raw, &page); err != nil {
		return page, fmt.Errorf("a page of its books cannot be read: %w", err)
	}
	return page, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// FileBooks reads any rail's statement, brought into lines of JSON, one Effect a
// line; the last line says how many there were: {"end":2}. A file without it was cut
// off, and proves nothing.
type FileBooks struct{ Name, Path string }

// Channel implements Books.
func (b *FileBooks) Channel() string { return b.Name }

// Source implements Books.
func (b *FileBooks) Source() string { return b.Path }

// Effects implements Books.
func (b *FileBooks) Effects(ctx context.Context, take func(Effect) error) error {
	f, err := os.Open(b.Path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return readLines(ctx, f, take)
}

func readLines(ctx context.Context, in io.Reader, take func(Effect) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, lineMax)
	for n := int64(0); lines.Scan(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(lines.Bytes()) == 0 {
			continue
		}
		var line struct {
			End *int64 `json:"end"`
			Effect
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		if line.End != nil {
			if *line.End != n {
				return fmt.Errorf("the last line says %d movements, there are %d: it is not whole", *line.End, n)
			}
			if lines.Scan() {
				return fmt.Errorf("it goes on after its end at line %d", n+1)
			}
			return lines.Err()
		}
		if err := take(line.Effect); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		n++
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New(`it has no last line {"end":N}: it may be cut off`)
}

// valid refuses a movement that cannot be compared.
func (e *Effect) valid() error {
	switch {
	case e.Direction != "out" && e.Direction != "in":
		return fmt.Errorf("direction %.20q is neither out nor in", e.Direction)
	case e.Amount.Sign() <= 0:
		return fmt.Errorf("amount %s is not above zero", e.Amount)
	case e.Asset == "" || len(e.Asset) > textMax:
		return errors.New("it names no asset")
	case len(e.Reference) > textMax || len(e.ID) > textMax:
		return errors.New("a reference or an id is too long")
	case e.At.Year() < 1970 || e.At.Year() > 2200: // nanoseconds are kept in 64 bits
		return errors.New("it has no time, or none that can be")
	}
	return nil
}
