package api

import (
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/recon"
)

// breaksMax bounds one page of breaks.
const breaksMax = 500

func breakParams() []*huma.Param {
	return []*huma.Param{
		query("state", "open when left out.", words("open", "explained", "resolved", "all")),
		query("channel", "Only this channel.", text()),
		query("class", "Only this class, such as amount_mismatch.", text()),
	}
}

func reconRoutes() []*route {
	id := pathID("id", "The break's number")
	return []*route{
		{
			method: http.MethodGet, path: "/v1/recon/breaks", id: "list-breaks", tag: "operator", summary: "List breaks",
			about: "What the channels' statements say and the ledger does not, or the other way round: each with owner, age, severity and what would heal it. " +
				"The newest first; a page begins after the last id of the one before.",
			scope: access.Installation, params: append(paging("500"), breakParams()...),
			answers: map[int]reflect.Type{200: of[ListOf[recon.Break]]()}, faults: []fault.Code{fault.UnknownField, fault.NotFound}, do: (*call).breaks,
		},
		{
			method: http.MethodGet, path: "/v1/recon/breaks.csv", id: "export-breaks", tag: "operator", summary: "Export breaks as CSV",
			about: "All that the filter lets through, the newest first. Amounts are in the asset's smallest unit.",
			scope: access.Installation, params: breakParams(), answers: map[int]reflect.Type{200: of[string]()}, media: []string{"text/csv"},
			faults: []fault.Code{fault.UnknownField, fault.NotFound}, do: (*call).breaksCSV,
		},
		{
			method: http.MethodGet, path: "/v1/recon/breaks/{id}", id: "get-break", tag: "operator", summary: "Look at a break",
			about: "With everything that happened to it, and the evidence: our side and the statement's lines side by side.", scope: access.Installation, params: []*huma.Param{id},
			answers: map[int]reflect.Type{200: of[recon.Break]()}, faults: []fault.Code{fault.NotFound}, do: (*call).getBreak,
		},
		{
			method: http.MethodPost, path: "/v1/recon/breaks/{id}/close", id: "close-break", role: access.Operate, tag: "operator", summary: "Close a break",
			about: "As explained, when it may stand, or as resolved, when it is right by now. Who and why are kept. It moves no money. " +
				"With two people who may approve, a break of severity 1 (money may be lost or paid twice) is closed by an approval of the kind close_break only.",
			scope: access.Installation, params: []*huma.Param{id}, body: of[BreakClosing](), answers: map[int]reflect.Type{200: of[recon.Break]()},
			faults: []fault.Code{fault.ApprovalRequired, fault.NotFound, fault.AlreadyFinal, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType},
			do:     (*call).closeBreak,
		},
		{
			method: http.MethodPost, path: "/v1/recon/breaks/{id}/assign", id: "assign-break", role: access.Operate, tag: "operator", summary: "Give a break to somebody",
			scope: access.Installation, params: []*huma.Param{id}, body: of[BreakAssignment](), answers: map[int]reflect.Type{200: of[recon.Break]()},
			faults: []fault.Code{fault.NotFound, fault.AlreadyFinal, fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType},
			do:     (*call).assignBreak,
		},
		{
			method: http.MethodPost, path: "/v1/recon/statements", id: "import-statement", role: access.Operate, tag: "operator", summary: "Import a statement file",
			about: "The body is the file: camt.053, or CSV as the channel's mapping says. It is taken whole or not at all; the same file again is answered as replayed (200). " +
				"The leading node judges its lines with its next run. At most 64 MB.",
			scope: access.Installation, params: []*huma.Param{
				param("query", "channel", "Whose statement it is.", true, text()),
				query("accept_unbalanced", "Why a statement that does not add up is taken all the same; it is then a break.", text()),
			},
			answers: map[int]reflect.Type{201: of[ListOf[recon.Imported]](), 200: of[ListOf[recon.Imported]]()}, upload: true,
			faults: []fault.Code{fault.NotFound, fault.UnknownField, fault.StatementRefused, fault.StatementChanged, fault.BodyTooLarge, fault.CommitUnknown},
			do:     (*call).importStatement,
		},
		{
			method: http.MethodGet, path: "/v1/recon/statements", id: "list-statements", tag: "operator", summary: "List imported statements",
			about: "The newest first, with how many of their lines are judged.", scope: access.Installation,
			params:  []*huma.Param{paging("100")[0], query("channel", "Only this channel.", text())},
			answers: map[int]reflect.Type{200: of[ListOf[recon.Imported]]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).listStatements,
		},
		{
			method: http.MethodGet, path: "/v1/recon/clearing", id: "get-clearing", tag: "operator", summary: "What is in clearing, and for how long",
			about: "Every clearing account that is not empty, by age, with the payments that make it. Unexplained is zero, or money is in clearing that no payment put there.",
			scope: access.Installation, answers: map[int]reflect.Type{200: of[ListOf[recon.Clearing]]()}, faults: []fault.Code{fault.NotFound}, do: (*call).clearing,
		},
		{
			method: http.MethodGet, path: "/v1/recon/roll-forward", id: "get-roll-forward", tag: "operator", summary: "How a channel's account came from day to day",
			about: "Opening, in, out, fees, closing by business day, beside the balance that the channel states and what the ledger posted; the difference by class of break.",
			scope: access.Installation, params: []*huma.Param{
				param("query", "channel", "Whose account.", true, text()), param("query", "asset", "Which one.", true, text()),
				param("query", "from", "First business day.", true, &huma.Schema{Type: huma.TypeString, Format: "date"}),
				param("query", "to", "Last business day, included.", true, &huma.Schema{Type: huma.TypeString, Format: "date"}),
			},
			answers: map[int]reflect.Type{200: of[ListOf[recon.RollDay]]()}, faults: []fault.Code{fault.NotFound, fault.UnknownField}, do: (*call).rollForward,
		},
		{
			method: http.MethodGet, path: "/v1/recon/report", id: "get-recon", tag: "operator", summary: "Where each channel stands",
			about: "Lines read and matched, open breaks, clearing and nostro against the statements.", scope: access.Installation,
			answers: map[int]reflect.Type{200: of[recon.Report]()}, faults: []fault.Code{fault.NotFound}, do: (*call).reconReport,
		},
		{
			method: http.MethodPost, path: "/v1/recon/run", id: "run-recon", role: access.Operate, tag: "operator", summary: "Reconcile now",
			about: "Reads every channel's statement to its end, then answers where each stands. Only the leading node reconciles.", scope: access.Installation,
			answers: map[int]reflect.Type{200: of[recon.Report]()}, faults: []fault.Code{fault.NotFound, fault.NotLeader, fault.ChannelUnavailable}, do: (*call).reconRun,
		},
	}
}

var errNoRecon = fault.New(fault.NotFound, "this node does not reconcile")

func breakFilter(q url.Values) recon.BreakFilter {
	return recon.BreakFilter{State: q.Get("state"), Channel: channel.Name(q.Get("channel")), Class: q.Get("class")}
}

func (c *call) breaks() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	q := c.r.URL.Query()
	f := breakFilter(q)
	var err error
	if f.Limit, err = limit(q, breaksMax); err != nil {
		return err
	}
	if s := q.Get("after"); s != "" {
		if f.After, err = strconv.ParseInt(s, 10, 64); err != nil || f.After <= 0 {
			return malformed("the cursor is not one that this list gave out").WithParam("after")
		}
	}
	found, more, err := c.s.Recon.Breaks(c.ctx, f)
	if err != nil {
		return err
	}
	out := ListOf[recon.Break]{Object: "list", Data: found, HasMore: more}
	if out.Data == nil {
		out.Data = []recon.Break{}
	}
	if more {
		out.Next = strconv.FormatInt(found[len(found)-1].ID, 10)
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

// breaksCSV streams the breaks page by page. What cannot be read to its end breaks
// the connection off: half a list must not look like a whole one.
func (c *call) breaksCSV() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	f := breakFilter(c.r.URL.Query())
	f.Limit = recon.BreaksMax
	page, more, err := c.s.Recon.Breaks(c.ctx, f)
	if err != nil {
		return err
	}
	c.status = http.StatusOK
	c.w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	c.w.Header().Set("Content-Disposition", `attachment; filename="breaks.csv"`)
	out := csv.NewWriter(c.w)
	_ = out.Write(recon.BreakColumns()) // a caller that has left shows at Flush
	for {
		for i := range page {
			_ = out.Write(page[i].Row())
		}
		if !more {
			break
		}
		f.After = page[len(page)-1].ID
		if page, more, err = c.s.Recon.Breaks(c.ctx, f); err != nil {
			c.s.Logger.WarnContext(c.ctx, "an export was broken off", slogError(err))
			panic(http.ErrAbortHandler)
		}
	}
	out.Flush()
	return nil
}

func (c *call) breakID() (int64, error) {
	if c.s.Recon == nil {
		return 0, errNoRecon
	}
	id, err := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	if err != nil || id <= 0 {
		return 0, fault.New(fault.NotFound, "a break's id is a number")
	}
	return id, nil
}

func (c *call) getBreak() error {
	id, err := c.breakID()
	if err != nil {
		return err
	}
	b, err := c.s.Recon.Break(c.ctx, id)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &b)
}

// BreakClosing is the body of POST /v1/recon/breaks/{id}/close.
type BreakClosing struct {
	State  string `json:"state" enum:"explained,resolved" doc:"explained: it may stand; resolved: it is right by now"`
	Code   string `json:"code,omitempty" enum:"channel_corrected,posted,recovered,written_off,fee_accepted,timing,test,not_ours,other" default:"other" doc:"Why, in a word that can be counted"`
	Reason string `json:"reason" doc:"Why; kept" minLength:"1" maxLength:"500"`
}

// BreakAssignment is the body of POST /v1/recon/breaks/{id}/assign.
type BreakAssignment struct {
	Owner  string `json:"owner" doc:"Role or person who has to act" minLength:"1" maxLength:"100"`
	Reason string `json:"reason" doc:"Why; kept" minLength:"1" maxLength:"500"`
}

func (c *call) closeBreak() error {
	var how recon.Closing
	return c.changeBreak(map[string]*string{"state": &how.State, "code": &how.Code, "reason": &how.Why}, func(id int64) (recon.Break, error) {
		how.Who = c.actor()
		if err := how.Check(); err != nil {
			return recon.Break{}, err
		}
		b, err := c.s.Recon.Break(c.ctx, id)
		if err != nil {
			return b, err
		}
		if b.Severity == recon.MoneyAtRisk && b.State == recon.Open {
			if err := c.alone(c.who.Tenant, "close_break"); err != nil {
				return b, err
			}
		}
		return c.s.Recon.Close(c.ctx, id, how)
	})
}

func (c *call) assignBreak() error {
	var owner, reason string
	return c.changeBreak(map[string]*string{"owner": &owner, "reason": &reason}, func(id int64) (recon.Break, error) {
		return c.s.Recon.Assign(c.ctx, id, owner, c.actor(), reason)
	})
}

func (c *call) changeBreak(members map[string]*string, change func(id int64) (recon.Break, error)) error {
	id, err := c.breakID()
	if err != nil {
		return err
	}
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	err = decodeObject(body, func(d *decoder, name []byte) error {
		if into := members[string(name)]; into != nil {
			return d.text("/"+string(name), into)
		}
		return unknownField(name)
	})
	if err != nil {
		return err
	}
	b, err := change(id)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &b)
}

// reconRun reconciles and then reports; what one channel's statement refuses to
// tell is named, and the others are read all the same.
func (c *call) reconRun() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	if err := c.s.Recon.Run(c.ctx); err != nil {
		if errors.Is(err, fault.NotLeader) {
			return err
		}
		return fault.New(fault.ChannelUnavailable, "not every statement could be read to its end; run it again").WithCause(err)
	}
	return c.reconReport()
}

func (c *call) reconReport() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	r, err := c.s.Recon.Report(c.ctx)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &r)
}

// overdueText is what a probe says about missing runs.
func overdueText(late []recon.Overdue) string {
	var b strings.Builder
	b.WriteString("overdue:")
	for _, o := range late {
		b.WriteString(" " + string(o.Channel) + " since " + o.Since.Format(time.RFC3339))
	}
	return b.String()
}

// importStatement reads the file only when all of it is here: a slow client must
// not keep a transaction open.
func (c *call) importStatement() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	q := c.r.URL.Query()
	name := channel.Name(q.Get("channel"))
	mapping, ok := c.s.Recon.Mapping(name)
	if !ok {
		return fault.New(fault.NotFound, "there is no such channel").WithParam("channel")
	}
	file, err := c.upload()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), judgeWithin)
	defer cancel()
	taken, err := c.s.Recon.Import(ctx, recon.Import{Channel: name, File: file, Mapping: mapping, By: c.actor(), Accept: q.Get("accept_unbalanced")})
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if taken[0].Replayed {
		status = http.StatusOK
		c.w.Header()["Idempotency-Replayed"] = yes
	}
	return c.reply(status, &ListOf[recon.Imported]{Object: "list", Data: taken})
}

func (c *call) listStatements() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	q := c.r.URL.Query()
	n, err := limit(q, 100)
	if err != nil {
		return err
	}
	found, err := c.s.Recon.Statements(c.ctx, channel.Name(q.Get("channel")), n)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &ListOf[recon.Imported]{Object: "list", Data: append([]recon.Imported{}, found...)})
}

func (c *call) clearing() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	found, err := c.s.Recon.ClearingAges(c.ctx)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &ListOf[recon.Clearing]{Object: "list", Data: found})
}

func (c *call) rollForward() error {
	if c.s.Recon == nil {
		return errNoRecon
	}
	q := c.r.URL.Query()
	days, err := dates(q)
	if err != nil {
		return err
	}
	found, err := c.s.Recon.RollForward(c.ctx, channel.Name(q.Get("channel")), money.Asset(q.Get("asset")), days[0], days[1])
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, &ListOf[recon.RollDay]{Object: "list", Data: append([]recon.RollDay{}, found...)})
}
