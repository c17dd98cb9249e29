// Package keys holds the recipes of docs/keys.md in Go, so that what readers copy
// is what a test runs. keys.ts is the same in TypeScript, and testdata/vectors.json
// is what both must give. It refuses to make a key from the time of a try.
package keys

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Store outlives the process: a table, or the browser's localStorage.
type Store interface {
	Get(name string) (string, bool)
	Set(name, value string)
	Delete(name string)
}

// recipe: purchase

// Draft is what a person is about to confirm.
type Draft struct{ User, Payee, Amount, Asset, Method string }

// PurchaseKey is called when the confirmation screen opens. The key is stored
// before anything is sent, and another tap, or another start of the app, finds it.
func PurchaseKey(s Store, d Draft, mint func() string) string {
	slot := "pay:" + join(d.User, d.Payee, d.Amount, d.Asset, d.Method)
	if key, ok := s.Get(slot); ok {
		return key
	}
	key := mint() // UUIDv7
	s.Set(slot, key)
	return key
}

// Concluded is called with the payment's status: only a definite end frees the
// draft for a new key. A timeout is not one.
func Concluded(s Store, d Draft, status string) {
	if status == "succeeded" || status == "failed" {
		s.Delete("pay:" + join(d.User, d.Payee, d.Amount, d.Asset, d.Method))
	}
}

// recipe: guard

// Guard names payments that look the same within five minutes. It is for the
// question "you sent this two minutes ago; again?", never for a key: two honest
// equal payments exist. Ask for this bucket and for the one before.
func Guard(secret []byte, user, payee, asset, amount string, at time.Time) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(join(user, payee, asset, amount, strconv.FormatInt(at.Unix()/300, 10))))
	return hex.EncodeToString(mac.Sum(nil))
}

// recipe: batch

// BatchKey names a line of a file: sending the file again pays nobody twice.
func BatchKey(batch string, line int) string { return batch + ":" + strconv.Itoa(line) }

// BusinessKey names a payment by what it pays, such as ("payroll", "2026-11", "emp-42").
func BusinessKey(parts ...string) string { return strings.Join(parts, ":") }

// recipe: reference

// Reference is the name of an attempt at a channel: the same after any crash,
// never random, at most 32 characters.
func Reference(payment string, attempt int) (string, error) {
	digits, ok := strings.CutPrefix(payment, "pay_")
	if !ok || len(digits) != 13 || attempt < 1 {
		return "", fmt.Errorf("%q, attempt %d: not a payment's id and an attempt from 1", payment, attempt)
	}
	return "M" + digits + "A" + strconv.Itoa(attempt), nil
}

// recipe: consumer

// Tx is a database transaction.
type Tx interface {
	// Exec returns how many rows it changed.
	Exec(sql string, args ...any) (int64, error)
}

// Once does the work of an event in the transaction that remembers it, so that a
// redelivery finds it done, whatever its offset is now.
func Once(tx Tx, event string, work func(Tx) error) error {
	n, err := tx.Exec(`insert into processed (event) values ($1) on conflict do nothing`, event)
	if err != nil || n == 0 {
		return err
	}
	return work(tx)
}

// recipe: webhook

// WebhookKey names a message that came in: the sender's id, and what it said. The
// same id with another hash is not a duplicate but a case for a person.
func WebhookKey(id string, body []byte) string {
	sum := sha256.Sum256(body)
	return id + ":" + hex.EncodeToString(sum[:])
}

// recipe: chain

// ChainKey names a transaction of an EVM chain: its natural key. A replacement has
// the same, and so has the attempt to send it once more.
func ChainKey(chain uint64, account string, nonce uint64) string {
	return fmt.Sprintf("%d:%s:%d", chain, strings.ToLower(account), nonce)
}

// recipe: end

// join keeps parts apart whatever they contain: "a","bc" is not "ab","c".
func join(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(strconv.Itoa(len(p)) + ":" + p)
	}
	return b.String()
}
