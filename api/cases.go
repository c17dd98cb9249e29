package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay"
	"github.com/moneta-pay/moneta/pay/desk"
	"github.com/moneta-pay/moneta/pay/intake"
	"github.com/moneta-pay/moneta/pay/status"
)

// Desk keeps the cases for people. *desk.Desk is one.
type Desk interface {
	Appeal(ctx context.Context, r *desk.AppealRequest) (desk.Appealed, error)
	Get(ctx context.Context, r desk.Reach, n desk.Number) (desk.Case, error)
	OfPayment(ctx context.Context, id pay.ID) (desk.Case, bool, error)
	List(ctx context.Context, f desk.Filter) (desk.Page, error)
	Note(ctx context.Context, r desk.Reach, n desk.Number, by string, line desk.Note) (desk.Case, error)
	Assign(ctx context.Context, r desk.Reach, n desk.Number, by, owner string, deadline time.Time, why string) (desk.Case, error)
	Close(ctx context.Context, r desk.Reach, n desk.Number, by, resolution, answer string) (desk.Case, error)
	StillOpen(ctx context.Context, c *desk.Case) (bool, error)
	Team(kind desk.Kind) string
	Journey(ctx context.Context, tenant pay.TenantID, id pay.ID) (desk.Journey, error)
}

// The bounds of what a holder's device may say of itself.
const (
	clientMax      = 20
	clientValueMax = 200
)

// Case is a case as the API shows it. A key without admin sees what the holder may:
// not the members that are called internal.
type Case struct {
	Object     string     `json:"object" enum:"case"`
	Number     string     `json:"number" example:"C-2026-000123"`
	Kind       string     `json:"kind" doc:"overdue, unknown_too_long, orphan, review, unplaced, debt, poison, contradiction, mismatch, break, appeal; more may come"`
	State      string     `json:"state" enum:"open,answered,closed"`
	About      Spoken     `json:"about" doc:"What it is about, in words"`
	Payment    string     `json:"payment,omitempty"`
	Owner      string     `json:"owner" doc:"Who has it; the holder sees the team that it came to first"`
	OpenedAt   time.Time  `json:"opened_at"`
	Deadline   time.Time  `json:"deadline" doc:"By then somebody has answered or closed it, or it goes to somebody above"`
	Overdue    bool       `json:"overdue"`
	AnsweredAt *time.Time `json:"answered_at,omitempty"`
	ClosedAt   *time.Time `json:"closed_at,omitempty"`

	EscalatedAt *time.Time    `json:"escalated_at,omitempty" doc:"Internal"`
	Tenant      int32         `json:"tenant,omitempty" doc:"Internal; left out when nobody knows whose money it is"`
	ClosedBy    string        `json:"closed_by,omitempty" doc:"Internal"`
	Resolution  string        `json:"resolution,omitempty" doc:"Internal"`
	Finding     *desk.Finding `json:"finding,omitempty" doc:"Internal: what was known when it was opened"`
	// Notes of a list are left out.
	Notes []desk.Note `json:"notes,omitempty" doc:"The log; a holder sees what is addressed to it, without names. Left out in lists"`
	// Warning tells whoever closes a case what comes of it.
	Warning *Spoken `json:"warning,omitempty" doc:"After a close: the payment is still open, and the next sweep opens a new case"`
}

// Spoken is a sentence in both languages.
type Spoken struct {
	EN string `json:"en"`
	ZH string `json:"zh"`
}

// Appealed is the answer to an appeal: the case, and how the payment stands now.
type Appealed struct {
	Case
	Status []status.Status `json:"status" doc:"How the payment stands, in English and in Chinese"`
}

// NewAppeal is the body of POST /v1/payments/{id}/appeal; it may be empty.
type NewAppeal struct {
	Text   string            `json:"text,omitempty" doc:"What the holder says" maxLength:"2000"`
	Client map[string]string `json:"client,omitempty" doc:"What the device says of itself: screen, trace_id, app_version, device, language, screenshot_sha256; at most 20 members of 200 characters"`
}

// NewNote is the body of POST /v1/cases/{number}/notes.
type NewNote struct {
	Text     string `json:"text" minLength:"1" maxLength:"2000"`
	ToHolder bool   `json:"to_holder,omitempty" doc:"The holder reads it; it answers the case"`
	URL      string `json:"url,omitempty" doc:"Evidence: where it is kept" maxLength:"1000"`
	SHA256   string `json:"sha256,omitempty" doc:"Evidence: its hash, 64 hexadecimal digits" pattern:"^[0-9a-f]{64}$"`
}

// Assignment is the body of POST /v1/cases/{number}/assign.
type Assignment struct {
	Owner    string     `json:"owner" doc:"A team or an operator" minLength:"1" maxLength:"80"`
	Deadline *time.Time `json:"deadline,omitempty" doc:"A new deadline, RFC 3339; the old one when left out"`
	Reason   string     `json:"reason,omitempty" maxLength:"500"`
}

// Closing is the body of POST /v1/cases/{number}/close.
type Closing struct {
	Resolution string `json:"resolution" doc:"What was found and done; internal" minLength:"1" maxLength:"2000"`
	Answer     string `json:"answer,omitempty" doc:"What the holder reads" maxLength:"2000"`
}

// showCase shows c to whoever asks: all of it to an admin, to others what the
// holder may know.
func (c *call) showCase(k *desk.Case) Case {
	out := Case{
		Object: "case", Number: k.Number.String(), Kind: string(k.Kind), State: k.State,
		About: Spoken{desk.About(k.Kind, "en"), desk.About(k.Kind, "zh")},
		Owner: c.s.Desk.Team(k.Kind), OpenedAt: k.OpenedAt, Deadline: k.Deadline, Overdue: k.Overdue(c.s.Clock.Now()),
		AnsweredAt: moment(k.AnsweredAt), ClosedAt: moment(k.ClosedAt),
	}
	if k.Payment != 0 {
		out.Payment = k.Payment.String()
	}
	if !c.staff() {
		for _, n := range k.Notes {
			if n.ToHolder {
				n.By, n.URL, n.SHA256 = "", "", ""
				out.Notes = append(out.Notes, n)
			}
		}
		return out
	}
	out.Owner, out.Tenant, out.ClosedBy, out.Resolution = k.Owner, int32(k.Tenant), k.ClosedBy, k.Resolution
	out.EscalatedAt, out.Finding, out.Notes = moment(k.EscalatedAt), &k.Finding, k.Notes
	return out
}

// staff reports whether who asks works for the tenant's operator: an admin key, or a
// person.
func (c *call) staff() bool { return c.who.May(access.Admin) || c.who.Operator != "" }

// reach is whose cases the caller may have: the tenant's own, and for those who run
// the installation also those that nobody knows the tenant of.
func (c *call) reach() desk.Reach {
	return desk.Reach{Tenant: pay.TenantID(c.who.Tenant), Unclaimed: c.who.May(access.Installation)}
}

// actor names who acts, for the log of a case.
func (c *call) actor() string { return c.who.Name() }

func (c *call) desk() (Desk, error) {
	if c.s.Desk == nil {
		return nil, fault.New(fault.NotFound, "this node keeps no cases")
	}
	return c.s.Desk, nil
}

// appeal opens a case for a holder who wants a person, and says at once who has
// it, until when, and how the payment stands.
func (c *call) appeal() error {
	d, err := c.desk()
	if err != nil {
		return err
	}
	raw, err := c.idempotencyKey()
	if err != nil {
		return err
	}
	r := desk.AppealRequest{Tenant: pay.TenantID(c.who.Tenant), By: c.actor()}
	if r.Key, err = intake.NormaliseKey(raw); err != nil {
		return err
	}
	if err := c.appealBody(&r); err != nil {
		return err
	}
	now, err := c.standing()
	if err != nil {
		return err
	}
	out, code, err := c.appealed(d, &r, &now)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/cases/"+out.Number)
	return c.reply(code, &out)
}

// appealed opens the case, and tells it with how the payment stands.
func (c *call) appealed(d Desk, r *desk.AppealRequest, now *standing) (out Appealed, code int, err error) {
	r.Payment, r.Told = now.payment, now.inAll()
	res, err := d.Appeal(c.ctx, r)
	if err != nil {
		return out, 0, err
	}
	if res.State == desk.Open {
		now.heldBy(&res.Case)
	}
	code = http.StatusCreated
	if res.Replayed || res.Again {
		code = http.StatusOK
	}
	if res.Replayed {
		c.w.Header()["Idempotency-Replayed"] = yes
	}
	return Appealed{Case: c.showCase(&res.Case), Status: now.inAll()}, code, nil
}

func (c *call) appealBody(r *desk.AppealRequest) error {
	body, err := c.body(bodyMax)
	if err != nil || len(body) == 0 {
		return err
	}
	err = decodeObject(body, func(d *decoder, name []byte) error {
		switch string(name) {
		case "text":
			return d.text("/text", &r.Text)
		case "client":
			return d.texts("/client", &r.Client)
		}
		return unknownField(name)
	})
	if err != nil {
		return err
	}
	if err := sentence("/text", r.Text, 0, desk.TextMax); err != nil {
		return err
	}
	if len(r.Client) > clientMax {
		return malformed("at most 20 members").WithParam("/client")
	}
	for name, value := range r.Client {
		if sentence("", name, 1, clientValueMax) != nil || sentence("", value, 0, clientValueMax) != nil {
			return malformed("names and values have at most 200 characters").WithParam("/client/" + clip(name))
		}
	}
	return nil
}

// sentence checks text that people wrote: its length in characters, and that
// Postgres can keep it.
func sentence(pointer, s string, least, most int) error {
	if n := utf8.RuneCountInString(strings.TrimSpace(s)); n < least || utf8.RuneCountInString(s) > most {
		return malformed("it has " + strconv.Itoa(least) + " to " + strconv.Itoa(most) + " characters").WithParam(pointer)
	}
	if strings.ContainsRune(s, 0) {
		return malformed("it has a character that is none").WithParam(pointer)
	}
	return nil
}

func (c *call) journey() error {
	d, err := c.desk()
	if err != nil {
		return err
	}
	id, err := c.paymentID()
	if err != nil {
		return err
	}
	j, err := d.Journey(c.ctx, pay.TenantID(c.who.Tenant), id)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &j)
}

func (c *call) number() (desk.Number, error) {
	n, ok := desk.ParseNumber(c.r.PathValue("number"))
	if !ok {
		return n, fault.New(fault.NotFound, "a case number looks like C-2026-000123")
	}
	return n, nil
}

func (c *call) getCase() error {
	d, err := c.desk()
	if err != nil {
		return err
	}
	n, err := c.number()
	if err != nil {
		return err
	}
	k, err := d.Get(c.ctx, c.reach(), n)
	if err != nil {
		return err
	}
	out := c.showCase(&k)
	return c.reply(http.StatusOK, &out)
}

func (c *call) listCases() error {
	d, err := c.desk()
	if err != nil {
		return err
	}
	f, err := caseFilter(c.r.URL.Query())
	if err != nil {
		return err
	}
	f.Reach = c.reach()
	page, err := d.List(c.ctx, f)
	if err != nil {
		return err
	}
	out := ListOf[Case]{Object: "list", Data: make([]Case, len(page.Cases)), HasMore: page.Next.ID != 0}
	for i := range page.Cases {
		out.Data[i] = c.showCase(&page.Cases[i])
	}
	if out.HasMore {
		out.Next = strconv.FormatInt(page.Next.Deadline.UnixMicro(), 36) + "." + strconv.FormatInt(page.Next.ID, 36)
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

func caseFilter(q url.Values) (f desk.Filter, err error) {
	f = desk.Filter{State: desk.Open, Kind: desk.Kind(q.Get("kind")), Owner: q.Get("owner"), Overdue: q.Get("overdue") == "true"}
	if f.Limit, err = limit(q, desk.ListMax); err != nil {
		return f, err
	}
	if f.Kind != "" && !slices.Contains(desk.Kinds(), f.Kind) {
		return f, malformed("there is no such kind of case").WithParam("kind")
	}
	if q.Has("state") {
		if f.State = q.Get("state"); f.State == "all" {
			f.State = ""
		} else if !slices.Contains(desk.States(), f.State) {
			return f, malformed("state is open, answered, closed or all").WithParam("state")
		}
	}
	if s := q.Get("overdue"); s != "" && s != "true" && s != "false" {
		return f, malformed("overdue is true or false").WithParam("overdue")
	}
	if s := q.Get("payment"); s != "" {
		if f.Payment, err = pay.ParseID(s); err != nil {
			return f, malformed("this is not the id of a payment").WithParam("payment")
		}
	}
	if s := q.Get("after"); s != "" {
		at, id, _ := strings.Cut(s, ".")
		micros, err := strconv.ParseInt(at, 36, 64)
		n, err2 := strconv.ParseInt(id, 36, 64)
		if err != nil || err2 != nil || n <= 0 {
			return f, malformed("the cursor is not one that this list gave out").WithParam("after")
		}
		f.After = desk.Cursor{Deadline: time.UnixMicro(micros).UTC(), ID: n}
	}
	return f, nil
}

// onCase reads the number and the body, and answers with what do makes of the case.
func (c *call) onCase(member func(d *decoder, name []byte) error, do func(d Desk, n desk.Number) (desk.Case, error)) error {
	d, err := c.desk()
	if err != nil {
		return err
	}
	n, err := c.number()
	if err != nil {
		return err
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	if err := decodeObject(body, member); err != nil {
		return err
	}
	k, err := do(d, n)
	if err != nil {
		return err
	}
	out := c.showCase(&k)
	if k.State == desk.Closed {
		still, err := d.StillOpen(c.ctx, &k)
		if err == nil && still { // what cannot be read costs the warning, not the answer
			out.Warning = &stillOpen
		}
	}
	return c.reply(http.StatusOK, &out)
}

var stillOpen = Spoken{
	"The payment is still open and past its bound: the next sweep opens a new case.",
	"付款仍未完结且已超时:下一次巡检会建立新的工单。",
}

func (c *call) noteCase() error {
	var line desk.Note
	return c.onCase(func(d *decoder, name []byte) error {
		switch string(name) {
		case "text":
			return d.text("/text", &line.Text)
		case "to_holder":
			return d.truth("/to_holder", &line.ToHolder)
		case "url":
			return d.text("/url", &line.URL)
		case "sha256":
			return d.text("/sha256", &line.SHA256)
		}
		return unknownField(name)
	}, func(d Desk, n desk.Number) (desk.Case, error) {
		if err := sentence("/text", line.Text, 1, desk.TextMax); err != nil {
			return desk.Case{}, err
		}
		if err := sentence("/url", line.URL, 0, desk.URLMax); err != nil {
			return desk.Case{}, err
		}
		if sum, err := hex.DecodeString(line.SHA256); err != nil || (line.SHA256 != "" && len(sum) != 32) {
			return desk.Case{}, malformed("a SHA-256 has 64 hexadecimal digits").WithParam("/sha256")
		}
		return d.Note(c.ctx, c.reach(), n, c.actor(), line)
	})
}

func (c *call) assignCase() error {
	var owner, reason string
	var deadline time.Time
	return c.onCase(func(d *decoder, name []byte) error {
		switch string(name) {
		case "owner":
			return d.text("/owner", &owner)
		case "deadline":
			return d.instant("/deadline", &deadline)
		case "reason":
			return d.text("/reason", &reason)
		}
		return unknownField(name)
	}, func(d Desk, n desk.Number) (desk.Case, error) {
		if err := sentence("/owner", owner, 1, desk.OwnerMax); err != nil {
			return desk.Case{}, err
		}
		if err := sentence("/reason", reason, 0, reasonMax); err != nil {
			return desk.Case{}, err
		}
		if !deadline.IsZero() && !deadline.After(c.s.Clock.Now()) {
			return desk.Case{}, malformed("a deadline is in the future").WithParam("/deadline")
		}
		return d.Assign(c.ctx, c.reach(), n, c.actor(), strings.TrimSpace(owner), deadline, reason)
	})
}

func (c *call) closeCase() error {
	var resolution, answer string
	return c.onCase(func(d *decoder, name []byte) error {
		switch string(name) {
		case "resolution":
			return d.text("/resolution", &resolution)
		case "answer":
			return d.text("/answer", &answer)
		}
		return unknownField(name)
	}, func(d Desk, n desk.Number) (desk.Case, error) {
		if err := sentence("/resolution", resolution, 1, desk.TextMax); err != nil {
			return desk.Case{}, err
		}
		if err := sentence("/answer", answer, 0, desk.TextMax); err != nil {
			return desk.Case{}, err
		}
		return d.Close(c.ctx, c.reach(), n, c.actor(), resolution, answer)
	})
}

func caseRoutes() []*route {
	number := pathID("number", "C-…")
	acting := []fault.Code{fault.NotFound, fault.CaseClosed, fault.CaseFull, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType}
	kinds := make([]any, 0, len(desk.Kinds()))
	for _, k := range desk.Kinds() {
		kinds = append(kinds, string(k))
	}
	return []*route{
		{
			method: http.MethodPost, path: "/v1/payments/{id}/appeal", id: "appeal-payment", tag: "cases", summary: "Ask for a person",
			about: "Opens a case and answers at once: its number, who has it and until when, and how the payment stands. A payment has one open appeal: " +
				"another one, under another key, is noted on it and answers 200. The body may be left out.",
			scope: access.PaymentsWrite, role: access.Operate, params: []*huma.Param{pathID("id", "pay_…"), keyHeader()}, body: of[NewAppeal](),
			answers: map[int]reflect.Type{201: of[Appealed](), 200: of[Appealed]()},
			faults: []fault.Code{
				fault.NotFound, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType, fault.IdempotencyKeyMissing,
				fault.IdempotencyKeyInvalid, fault.IdempotencyKeyReused, fault.IdempotencyInFlight,
			}, do: (*call).appeal,
		},
		{
			method: http.MethodGet, path: "/v1/payments/{id}/journey", id: "get-journey", tag: "cases", summary: "Answer support's first questions",
			about: "Was it submitted, received, dispatched to the channel, answered by it, duplicated? Each with the durable rows that the answer rests on, " +
				"in English and Chinese, from one snapshot.",
			scope: access.PaymentsRead, params: []*huma.Param{pathID("id", "pay_…")}, answers: map[int]reflect.Type{200: of[desk.Journey]()},
			faults: []fault.Code{fault.NotFound}, do: (*call).journey,
		},
		{
			method: http.MethodGet, path: "/v1/cases", id: "list-cases", tag: "cases", summary: "List cases",
			about: "What is due first comes first; open ones unless asked otherwise.", scope: access.Admin,
			params: append(paging(strconv.Itoa(desk.ListMax)),
				query("state", "open when left out.", words("open", "answered", "closed", "all")), query("kind", "Only this kind.", words(kinds...)),
				query("owner", "Only cases that this team or operator has.", text()), query("payment", "Only cases about this payment.", text()),
				query("overdue", "true: only open ones past their deadline.", words("true", "false"))),
			answers: map[int]reflect.Type{200: of[ListOf[Case]]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).listCases,
		},
		{
			method: http.MethodGet, path: "/v1/cases/{number}", id: "get-case", tag: "cases", summary: "Look at a case",
			about: "A key without admin sees what the holder may: no names, no internal notes, no resolution.", scope: access.PaymentsRead,
			params: []*huma.Param{number}, answers: map[int]reflect.Type{200: of[Case]()}, faults: []fault.Code{fault.NotFound}, do: (*call).getCase,
		},
		{
			method: http.MethodPost, path: "/v1/cases/{number}/notes", id: "note-case", role: access.Operate, tag: "cases", summary: "Note on a case",
			about: "The log is only ever appended to. A note to the holder answers the case.", scope: access.Admin, params: []*huma.Param{number},
			body: of[NewNote](), answers: map[int]reflect.Type{200: of[Case]()}, faults: acting, do: (*call).noteCase,
		},
		{
			method: http.MethodPost, path: "/v1/cases/{number}/assign", id: "assign-case", role: access.Operate, tag: "cases", summary: "Give a case to somebody",
			scope: access.Admin, params: []*huma.Param{number}, body: of[Assignment](), answers: map[int]reflect.Type{200: of[Case]()},
			faults: acting, do: (*call).assignCase,
		},
		{
			method: http.MethodPost, path: "/v1/cases/{number}/close", id: "close-case", role: access.Operate, tag: "cases", summary: "Close a case",
			about: "For ever. Closing changes no payment: one that is still open past its bound gets a new case at the next sweep, and the answer warns of it.",
			scope: access.Admin, params: []*huma.Param{number}, body: of[Closing](), answers: map[int]reflect.Type{200: of[Case]()},
			faults: acting, do: (*call).closeCase,
		},
	}
}
