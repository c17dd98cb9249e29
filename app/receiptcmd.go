package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/pay/receipt"
)

const (
	receiptTimeout = 15 * time.Second
	keySetMax      = 64 << 10 // bytes
)

// ExitOpen is the exit code for a receipt that is genuine and proves no outcome.
const ExitOpen = 4

// ReceiptShow prints the payment's newest receipt, or that of an event; save is a file
// for the receipt alone, never written over.
func ReceiptShow(ctx context.Context, d CaseDesk, payment, event, save string) error {
	q := url.Values{}
	if event != "" {
		q.Set("event", event)
	}
	raw, err := d.call(ctx, http.MethodGet, "/v1/payments/"+url.PathEscape(payment)+"/receipt?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	var r receipt.Receipt
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if save != "" {
		if err := saveNew(save, []byte(r.JWS)); err != nil {
			return err
		}
	}
	if d.JSON {
		_, err = d.Out.Write(raw)
		return err
	}
	// What this prints is verified, with the keys of the same node: not a proof yet.
	set, err := d.call(ctx, http.MethodGet, "/v1/receipt-keys", nil)
	if err != nil {
		return err
	}
	keys, err := receipt.ParseKeys(set)
	if err != nil {
		return fmt.Errorf("the keys of %s: %w", d.API, err)
	}
	doc, _, err := receipt.Verify([]byte(r.JWS), keys)
	if err != nil {
		return fmt.Errorf("the receipt of %s: %w", d.API, err)
	}
	said := receiptText(&doc, d.Lang)
	if save != "" {
		said += say(d.Lang, "receipt-saved", save)
	} else {
		said += "\n" + r.JWS + "\n"
	}
	_, err = io.WriteString(d.Out, said)
	return err
}

// ReceiptList prints all of a payment's receipts, the newest first.
func ReceiptList(ctx context.Context, d CaseDesk, payment string, q url.Values) error {
	return d.ask(ctx, &question{
		path: "/v1/payments/" + url.PathEscape(payment) + "/receipts", query: q, head: "receipt-head", none: "receipt-none",
		cells: []string{"id", "recorded_at@", "status", "state", "disposition", "final"},
	})
}

// ReceiptKeys prints the key set, to be saved.
func ReceiptKeys(ctx context.Context, at string, out io.Writer) error {
	raw, err := fetchKeys(ctx, strings.TrimRight(at, "/")+"/v1/receipt-keys")
	if err != nil {
		return err
	}
	if _, err := receipt.ParseKeys(raw); err != nil {
		return err
	}
	_, err = out.Write(raw)
	return err
}

// ReceiptUsedKeys prints the public keys that ever signed in this database, as PEM: what
// a new key file needs behind its own key when the old file is lost.
func ReceiptUsedKeys(ctx context.Context, d Database, out io.Writer) error {
	pool, err := d.pool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, receiptTimeout)
	defer cancel()
	text, err := receipt.UsedKeys(ctx, pool)
	if err == nil {
		_, err = out.Write(text)
	}
	return err
}

func saveNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("save the receipt: %w", err)
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// ReceiptVerifyConfig is what `moneta receipt verify` was asked.
type ReceiptVerifyConfig struct {
	// File is the receipt; - is the standard input.
	File string
	// Keys is the saved key set that is trusted, or its address.
	Keys string
	// Payee is the account that the payee should have; empty asks nothing.
	Payee string
	JSON  bool
	Lang  string
	In    io.Reader
	Out   io.Writer
}

// verdict is what is printed for machines.
type receiptVerdict struct {
	Genuine bool `json:"genuine"`
	// Reason is empty when it is genuine, final and names the payee asked for; else
	// not_a_receipt, unknown_key, forged, unknown_form, other_payee or not_final.
	Reason   string            `json:"reason,omitempty"`
	Detail   string            `json:"detail,omitempty"`
	KeyID    string            `json:"kid,omitempty"`
	Payee    *bool             `json:"payee_matches,omitempty"`
	Document *receipt.Document `json:"document,omitempty"`
}

// ReceiptVerify says whether a receipt is genuine, what it proves and what not; with a
// saved key set nobody is asked. What is not genuine, or names another payee, is an
// ExitError with ExitMoney; what is genuine and not final one with ExitOpen.
func ReceiptVerify(ctx context.Context, c ReceiptVerifyConfig) error {
	token, err := c.token()
	if err != nil {
		return err
	}
	keys, err := c.keys(ctx)
	if err != nil {
		return err
	}
	doc, kid, err := receipt.Verify(token, keys)
	if err != nil {
		v := receiptVerdict{Reason: refusal(err), Detail: err.Error()}
		return c.refuse(&v, ExitMoney, "receipt-no-"+v.Reason)
	}
	v := receiptVerdict{Genuine: true, KeyID: kid, Document: &doc}
	if c.Payee != "" {
		same := doc.Names(c.Payee)
		if v.Payee = &same; !same {
			v.Reason = "other_payee"
		}
	}
	if v.Reason == "" && !doc.Final {
		v.Reason = "not_final"
	}
	if err := c.show(&v); err != nil {
		return err
	}
	switch v.Reason {
	case "other_payee":
		return &ExitError{ExitMoney, say(c.Lang, "receipt-other-payee", c.Payee)}
	case "not_final":
		return &ExitError{ExitOpen, say(c.Lang, "receipt-not-final")}
	}
	return nil
}

func refusal(err error) string {
	switch {
	case errors.Is(err, receipt.ErrUnknownKey):
		return "unknown_key"
	case errors.Is(err, receipt.ErrForged):
		return "forged"
	case errors.Is(err, receipt.ErrNewer):
		return "unknown_form"
	}
	return "not_a_receipt"
}

func (c *ReceiptVerifyConfig) refuse(v *receiptVerdict, code int, words string) error {
	if c.JSON {
		if err := writeJSON(c.Out, v); err != nil {
			return err
		}
	}
	return &ExitError{code, say(c.Lang, words, c.File)}
}

func (c *ReceiptVerifyConfig) show(v *receiptVerdict) error {
	if c.JSON {
		return writeJSON(c.Out, v)
	}
	said := say(c.Lang, "receipt-genuine", v.KeyID) + receiptText(v.Document, c.Lang)
	if v.Payee != nil && *v.Payee {
		said += say(c.Lang, "receipt-payee", c.Payee)
	}
	_, err := io.WriteString(c.Out, said)
	return err
}

// token reads the receipt: the file alone, or the API's answer that has it.
func (c *ReceiptVerifyConfig) token() ([]byte, error) {
	in := c.In
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, fmt.Errorf("read the receipt: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, 4*receipt.TokenMax))
	if err != nil {
		return nil, fmt.Errorf("read the receipt: %w", err)
	}
	raw = bytes.TrimSpace(raw) // an editor adds a line end
	var answer struct{ JWS string }
	if bytes.HasPrefix(raw, []byte("{")) && json.Unmarshal(raw, &answer) == nil && answer.JWS != "" {
		return []byte(answer.JWS), nil
	}
	return raw, nil
}

func (c *ReceiptVerifyConfig) keys(ctx context.Context) (receipt.Keys, error) {
	var raw []byte
	var err error
	if strings.Contains(c.Keys, "://") {
		raw, err = fetchKeys(ctx, c.Keys)
	} else {
		raw, err = readAtMost(c.Keys, keySetMax)
	}
	if err != nil {
		return nil, err
	}
	keys, err := receipt.ParseKeys(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Keys, err)
	}
	return keys, nil
}

func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	return raw, nil
}

// fetchKeys reads a key set from its address. Without TLS anybody on the way could put
// his own keys in, so that it must be this machine.
func fetchKeys(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("the address of the keys: %w", err)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !onThisMachine(address)) {
		return nil, fmt.Errorf("%s: keys come over https, or from this machine: on the way anybody could replace them", address)
	}
	ctx, cancel := context.WithTimeout(ctx, receiptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("the address of the keys: %w", err)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch the keys: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s; the keys of a Moneta are at /v1/receipt-keys", address, resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, keySetMax+1))
	if err != nil {
		return nil, fmt.Errorf("fetch the keys: %w", err)
	}
	return raw, nil
}

// receiptText is what a genuine receipt says.
func receiptText(d *receipt.Document, lang string) string {
	var b strings.Builder
	line := func(label, text string) { fmt.Fprintf(&b, "  %s  %s\n", say(lang, label), text) }
	line("receipt-of", d.Payment+"  "+d.Reference)
	line("receipt-amount", d.Money(d.Amount)+"  "+say(lang, "receipt-kind", d.Kind, d.Money(d.Fee)))
	if d.Payee != nil {
		line("receipt-to", say(lang, "receipt-ends", plain(d.Payee.EndsWith)))
	}
	if d.Original != "" {
		line("receipt-original", d.Original)
	}
	at, _ := d.Recorded() // it is verified
	words := []string{d.Status}
	for _, w := range []string{d.State, d.Disposition} {
		if w != "" && w != d.Status {
			words = append(words, w)
		}
	}
	line("receipt-at", stamp(at)+"  "+strings.Join(words, ", "))
	line("receipt-on", d.RestsOn.Event+"  "+d.RestsOn.Transition)
	fmt.Fprintf(&b, "\n  %s\n  %s\n", d.Outcome(lang), d.Limit(lang))
	return b.String()
}
