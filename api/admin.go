package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/channel"
)

// NewKey is the body of POST /v1/keys.
type NewKey struct {
	Name   string   `json:"name,omitempty" doc:"What the key is for" maxLength:"100"`
	Scopes []string `json:"scopes" minItems:"1" doc:"payments:write, payments:read, accounts:write, accounts:read, webhooks:write, webhooks:read, admin, installation"`
}

// Key is an API key as the API shows it.
type Key struct {
	Object    string     `json:"object" enum:"key"`
	Prefix    string     `json:"prefix" doc:"Names the key; not secret"`
	Key       string     `json:"key,omitempty" doc:"The key itself, shown once, when it is made"`
	Name      string     `json:"name"`
	Scopes    []string   `json:"scopes"`
	CreatedAt time.Time  `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	Limits    *KeyLimits `json:"limits,omitempty" doc:"Left out when nothing limits the key"`
}

func showKey(k *access.Key) Key {
	out := Key{Object: "key", Prefix: k.Prefix, Name: k.Name, CreatedAt: k.CreatedAt, RevokedAt: moment(k.RevokedAt)}
	if k.Limits != (access.Limits{}) {
		out.Limits = &KeyLimits{Writes: showLimit(k.Limits.Writes), Reads: showLimit(k.Limits.Reads)}
	}
	for _, s := range k.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	return out
}

func (c *call) createKey() error {
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	var name string
	var scopes []access.Scope
	err = decodeObject(body, func(d *decoder, member []byte) error {
		switch string(member) {
		case "name":
			return d.text("/name", &name)
		case "scopes":
			return d.array(func(d *decoder, i int) error {
				if i == len(access.Scopes()) {
					return malformed("there are fewer scopes than that").WithParam("/scopes")
				}
				var s string
				err := d.text("/scopes/"+strconv.Itoa(i), &s)
				scopes = append(scopes, access.Scope(s))
				return err
			})
		}
		return unknownField(member)
	})
	if err != nil {
		return err
	}
	if slices.Contains(scopes, access.Installation) && !c.who.May(access.Installation) {
		return fault.New(fault.Forbidden, "only who has the scope installation gives it away; or make the key at the database, with `moneta key create`")
	}
	if slices.Contains(scopes, access.Admin) || slices.Contains(scopes, access.Installation) {
		two, err := c.s.Access.FourEyes(c.ctx, c.who.Tenant)
		if err != nil {
			return err
		}
		if two {
			return fault.New(fault.Forbidden, "keys with admin or installation are made at the database, with `moneta key create`")
		}
	}
	text, k, err := c.s.Access.CreateKey(c.ctx, c.who.Tenant, name, scopes)
	if err != nil {
		return err
	}
	out := showKey(&k)
	out.Key = text
	return c.reply(http.StatusCreated, &out)
}

func (c *call) listKeys() error {
	found, err := c.s.Access.List(c.ctx, c.who.Tenant)
	if err != nil {
		return err
	}
	out := ListOf[Key]{Object: "list", Data: make([]Key, len(found))}
	for i := range found {
		out.Data[i] = showKey(&found[i])
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) revokeKey() error {
	k, err := c.s.Access.Revoke(c.ctx, c.who.Tenant, c.r.PathValue("prefix"))
	if err != nil {
		return err
	}
	out := showKey(&k)
	return c.reply(http.StatusOK, &out)
}

// Totals is the whole installation in a few numbers.
type Totals struct {
	Object             string           `json:"object" enum:"totals"`
	Ledger             []LedgerSum      `json:"ledger"`
	Open               int64            `json:"open" doc:"Payments that are not final"`
	Final              map[string]int64 `json:"final" doc:"Payments that reached each final state"`
	Settled            int64            `json:"settled" doc:"Payments that a statement of the channel has matched"`
	UnknownResolved    int64            `json:"unknown_resolved" doc:"Payments that were unknown once and are final"`
	DuplicateCallbacks int64            `json:"duplicate_callbacks"`
	UnexplainedMaxS    Seconds          `json:"unexplained_max_s" doc:"The longest time that any payment was unexplained, in seconds"`
	Marks              map[string]int64 `json:"marks" doc:"The stations' durable counters"`
}

// LedgerSum is the sum of all books of an asset.
type LedgerSum struct {
	Asset    string `json:"asset"`
	Sum      string `json:"sum" doc:"Zero, or the ledger is broken"`
	Accounts int64  `json:"accounts"`
}

// Seconds is a number of milliseconds that JSON shows in seconds.
type Seconds int64

// MarshalJSON writes seconds with three decimals.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%d.%03d", s/1000, s%1000), nil
}

// Schema describes it in the OpenAPI document.
func (Seconds) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeNumber, Description: "Seconds"}
}

func (c *call) totals() error {
	t, err := c.s.Payments.Totals(c.ctx)
	if err != nil {
		return err
	}
	out := Totals{
		Object: "totals", Ledger: make([]LedgerSum, len(t.Ledger)), Open: t.Open, Final: make(map[string]int64, 4), Settled: t.Settled,
		UnknownResolved: t.UnknownResolved, DuplicateCallbacks: t.Marks["duplicate_callbacks"],
		UnexplainedMaxS: Seconds(t.Marks["unexplained_max_ms"]), Marks: t.Marks,
	}
	for i, s := range t.Ledger {
		out.Ledger[i] = LedgerSum{Asset: string(s.Asset), Sum: s.Sum.String(), Accounts: s.Accounts}
	}
	for _, s := range []pay.State{pay.Succeeded, pay.Failed, pay.Cancelled, pay.Expired} {
		out.Final[s.String()] = t.Final[s]
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) dispatch() error {
	if c.s.Dispatch == nil {
		return fault.New(fault.NotFound, "this node does not dispatch")
	}
	out, err := c.s.Dispatch.State(c.ctx)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &out)
}

// reasonMax bounds the reason that an admin gives, in bytes.
const reasonMax = 500

// Resumption is the body of POST /v1/dispatch/resume.
type Resumption struct {
	Reason string `json:"reason" doc:"Why the gaps that are left are acceptable; kept" minLength:"1" maxLength:"500"`
}

func (c *call) resumeDispatch() error {
	if c.s.Dispatch == nil {
		return fault.New(fault.NotFound, "this node does not dispatch")
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	var reason string
	err = decodeObject(body, func(d *decoder, member []byte) error {
		if string(member) != "reason" {
			return unknownField(member)
		}
		return d.text("/reason", &reason)
	})
	if err != nil {
		return err
	}
	if strings.TrimSpace(reason) == "" || len(reason) > reasonMax {
		return malformed("give a reason of 1 to 500 bytes").WithParam("/reason")
	}
	if err := c.alone(0, "resume_dispatch"); err != nil { // it concerns every tenant
		return err
	}
	out, err := c.s.Dispatch.Resume(c.ctx, c.who.Name(), reason)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &out)
}

// callback hands a channel's word, as it came, to the station that stores it. The
// channel's signature is checked there; 200 promises that the callback is durable.
func (c *call) callback() error {
	if c.s.Receiver == nil {
		return fault.New(fault.NotFound, "this node takes no callbacks")
	}
	body, err := c.rawBody(bodyMax)
	if err != nil {
		return err
	}
	// The buffer is used again for the answer; the receiver may keep the body.
	err = c.s.Receiver.Receive(c.tracedContext(), channel.Name(c.r.PathValue("name")), c.r.Header, append([]byte(nil), body...))
	if errors.Is(err, fault.ChannelUnknown) {
		return fault.New(fault.NotFound, "there is no such channel").WithCause(err)
	}
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &Stored{Object: "callback", Status: "stored"})
}

// Stored acknowledges a callback.
type Stored struct {
	Object string `json:"object" enum:"callback"`
	Status string `json:"status" enum:"stored"`
}

// Probes.

const readyTimeout = 2 * time.Second

// health says that the process runs and answers; nothing more.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	writeProbe(w, http.StatusOK, map[string]string{"status": "up", "version": s.Version})
}

// ready says whether the process makes progress.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	if s.Ready == nil {
		writeProbe(w, http.StatusServiceUnavailable, map[string]string{"status": "not_ready", "reason": "nobody watches this node's progress"})
		return
	}
	if err := within(r, s.Ready.Ready); err != nil {
		writeProbe(w, http.StatusServiceUnavailable, map[string]string{"status": "not_ready", "reason": err.Error()})
		return
	}
	out := map[string]string{"status": "ready"}
	if w, ok := s.Ready.(Warner); ok {
		maps.Copy(out, w.Warnings())
	}
	if s.Dispatch != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if d, err := s.Dispatch.State(ctx); err == nil && d.Paused {
			out["dispatch"] = "paused: " + d.Reason
		}
	}
	if s.Runs != nil {
		if late := s.Runs.Overdue(); len(late) > 0 { // payments go on all the same
			out["recon"] = overdueText(late)
		}
	}
	writeProbe(w, http.StatusOK, out)
}

func writeProbe(w http.ResponseWriter, status int, body map[string]string) {
	w.Header()["Content-Type"] = typeJSON
	w.Header()["Cache-Control"] = noStore
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a prober that has left is no news
}

func transitionName(t uint8) string { return fmt.Sprintf("T%d", t) }
