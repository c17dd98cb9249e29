package api

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
)

// identify finds who asks, a key or a person, and refuses who may not. What a
// person does is recorded before it is done.
func (c *call) identify() error {
	if err := c.authenticate(); err != nil {
		return err
	}
	switch rt := c.route; {
	case c.who.Operator == "" && rt.scope == "":
		return fault.New(fault.Forbidden, "this is for people: sign the request as an operator, or sign in")
	case c.who.Operator == "" && !c.who.May(rt.scope):
		return fault.New(fault.Forbidden, "this needs the scope "+string(rt.scope))
	case c.who.Operator == "":
		return nil
	case rt.scope == access.Installation && !c.who.May(access.Installation):
		return fault.New(fault.Forbidden, "this concerns every tenant, and is for the people of the installation's tenant")
	case rt.role == "":
		return fault.New(fault.Forbidden, "people do not do this themselves; use an API key")
	case !c.who.Role.Covers(rt.role):
		return fault.New(fault.Forbidden, "this needs the role "+string(rt.role))
	case c.r.Method == http.MethodGet:
		return nil
	}
	var err error
	c.began, err = c.s.Access.Began(c.ctx, &c.who, c.route.id, c.r.URL.Path, c.trace)
	return err
}

// HeaderUnattended is a header that, with any value, says that a page asks by itself, without a person who
// does something: such a request does not keep their session from ending.
const HeaderUnattended = "Moneta-Unattended"

func (c *call) authenticate() (err error) {
	if h := c.r.Header["Authorization"]; len(h) == 1 && strings.HasPrefix(h[0], access.SignatureScheme+" ") {
		if c.route.upload {
			return c.authenticateUpload()
		}
		body, err := c.rawBody(bodyMax)
		if err != nil {
			return err
		}
		signed := bytes.Clone(body)
		c.r.Body = io.NopCloser(bytes.NewReader(signed))
		c.who, err = c.s.Access.AuthenticateSigned(c.ctx, c.r, signed)
		return err
	}
	token, ok := bearer(c.r.Header)
	if !ok {
		return fault.New(fault.Unauthenticated, "")
	}
	if access.IsSession(token) {
		c.who, err = c.s.Access.AuthenticateSession(c.ctx, token, c.r.Header.Get(HeaderUnattended) == "")
		return err
	}
	c.who, err = c.s.Access.Authenticate(c.ctx, token)
	return err
}

// authenticateUpload finds the person who signed a file. Only a request that says it
// is an active person's is worth its place on the disk.
func (c *call) authenticateUpload() error {
	began, err := c.s.Access.ExpectSigned(c.ctx, c.r)
	if err != nil {
		return err
	}
	if err := c.spool(); err != nil {
		return err
	}
	c.who, err = c.s.Access.AuthenticateSum(c.ctx, c.r, c.spooled.sum, began)
	return err
}

const recordTimeout = 2 * time.Second

// recordEnd keeps how it ended. If it cannot be kept, the record of the beginning
// stands alone and says that nobody saw the end.
func (c *call) recordEnd() {
	if c.began == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), recordTimeout)
	defer cancel()
	if err := c.s.Access.Ended(ctx, c.began, c.status, c.code); err != nil {
		c.s.Logger.WarnContext(ctx, "the end of what a person did was not recorded", slog.String("operator", c.who.Operator),
			slog.Int64("record", c.began), slog.Any("error", err))
	}
}

// alone refuses what an installation with two people who may approve does only by
// an approval of the kind.
func (c *call) alone(tenant int32, kind string) error {
	two, err := c.s.Access.FourEyes(c.ctx, tenant)
	if err == nil && two {
		err = fault.New(fault.ApprovalRequired, "propose it as "+kind)
	}
	return err
}

// Operator is a person as the API shows them.
type Operator struct {
	Object     string     `json:"object" enum:"operator"`
	Name       string     `json:"name"`
	Role       string     `json:"role" enum:"viewer,operator,approver,admin,service" doc:"service is a machine's: it proposes what breaks owe, and decides nothing"`
	Method     string     `json:"method" enum:"ed25519,totp,passkey,invited,none" doc:"How they prove who they are; invited is who has not taken up their invitation yet, none is a machine's"`
	CreatedBy  string     `json:"created_by"`
	CreatedAt  time.Time  `json:"created_at"`
	DisabledAt *time.Time `json:"disabled_at,omitempty"`
	DisabledBy string     `json:"disabled_by,omitempty"`
}

func showOperator(o *access.Operator) Operator {
	return Operator{
		Object: "operator", Name: o.Name, Role: string(o.Role), Method: string(o.Method), CreatedBy: o.CreatedBy, CreatedAt: o.CreatedAt,
		DisabledAt: moment(o.DisabledAt), DisabledBy: o.DisabledBy,
	}
}

func (c *call) listOperators() error {
	found, err := c.s.Access.Operators(c.ctx, c.who.Tenant)
	if err != nil {
		return err
	}
	out := ListOf[Operator]{Object: "list", Data: make([]Operator, len(found))}
	for i := range found {
		out.Data[i] = showOperator(&found[i])
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) disableOperator() error {
	name := c.r.PathValue("name")
	if name != c.who.Operator && !c.who.Role.Covers(access.Chief) {
		return fault.New(fault.Forbidden, "an admin disables others; for one approved by two, propose disable_operator")
	}
	o, err := c.s.Access.Disable(c.ctx, c.who.Tenant, name, c.who.Operator)
	if err != nil {
		return err
	}
	out := showOperator(&o)
	return c.reply(http.StatusOK, &out)
}

// NewCredential is the body of POST /v1/operators/{name}/rotate.
type NewCredential struct {
	Credential string `json:"credential" doc:"The public half, as moneta operator enrol prints it" maxLength:"400"`
	Code       string `json:"code,omitempty" doc:"A fresh code, in a session"`
}

func (c *call) rotateOperator() error {
	if c.r.PathValue("name") != c.who.Operator {
		return fault.New(fault.ApprovalRequired, "everybody rotates their own; for somebody else propose it as rotate_operator")
	}
	var in NewCredential
	if err := c.texts(map[string]*string{"credential": &in.Credential, "code": &in.Code}); err != nil {
		return err
	}
	if err := c.present(in.Code); err != nil {
		return err
	}
	o, err := c.s.Access.Rotate(c.ctx, c.who.Tenant, c.who.Operator, in.Credential)
	if err != nil {
		return err
	}
	out := showOperator(&o)
	return c.reply(http.StatusOK, &out)
}

// present makes sure that the person is there, not only their session. A signed
// request says so by itself.
func (c *call) present(code string) error {
	switch {
	case c.who.Session() == "":
		return nil
	case c.who.Method != access.TOTP:
		return fault.New(fault.Forbidden, "a session that no code opened does not do this: sign the request with your key")
	case code == "":
		return malformed("in a session this needs a fresh code").WithParam("/code")
	}
	token, _ := bearer(c.r.Header)
	return c.s.Access.Confirm(c.ctx, &c.who, token, code)
}

// texts reads a body whose members are all strings.
func (c *call) texts(into map[string]*string) error {
	body, err := c.body(bodyMax)
	if err != nil {
		return err
	}
	return decodeObject(body, func(d *decoder, member []byte) error {
		to, ok := into[string(member)]
		if !ok {
			return unknownField(member)
		}
		return d.text("/"+string(member), to)
	})
}

// SignIn is the body of POST /v1/sessions.
type SignIn struct {
	Code string `json:"code" doc:"The six digits that the authenticator shows now"`
}

// Session is a person who has signed in.
type Session struct {
	Object    string    `json:"object" enum:"session"`
	Token     string    `json:"token" doc:"Shown this once; the bearer's token of what follows"`
	Operator  string    `json:"operator"`
	Role      string    `json:"role"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (c *call) signIn() error {
	pass, ok := bearer(c.r.Header)
	if !ok {
		return fault.New(fault.Unauthenticated, "the pass goes into the header Authorization: Bearer")
	}
	var code string
	if err := c.texts(map[string]*string{"code": &code}); err != nil {
		return err
	}
	s, err := c.s.Access.SignIn(c.ctx, pass, code, c.r.UserAgent())
	if err != nil {
		return err
	}
	return c.reply(http.StatusCreated, &Session{Object: "session", Token: s.Token, Operator: s.Operator, Role: string(s.Role), ExpiresAt: s.ExpiresAt})
}

// Done acknowledges.
type Done struct {
	Object string `json:"object" enum:"session"`
	Status string `json:"status" enum:"ended"`
}

func (c *call) signOut() error {
	if err := c.s.Access.SignOut(c.ctx, &c.who); err != nil {
		return err
	}
	return c.reply(http.StatusOK, &Done{Object: "session", Status: "ended"})
}

// OpenSession is a session as lists show it.
type OpenSession struct {
	Object   string    `json:"object" enum:"session"`
	ID       string    `json:"id" doc:"The public part of its token"`
	Operator string    `json:"operator"`
	Method   string    `json:"method" enum:"ed25519,totp,passkey" doc:"How it was opened"`
	Client   string    `json:"client" doc:"What the program that opened it calls itself"`
	Current  bool      `json:"current" doc:"It is the one that asks"`
	MadeAt   time.Time `json:"made_at"`
	SeenAt   time.Time `json:"seen_at" doc:"When its person last did something, to 20 seconds"`
	EndsAt   time.Time `json:"ends_at" doc:"When it ends if nothing is done in it"`
}

// listSessions shows people their own, admins those of the tenant.
func (c *call) listSessions() error {
	of := c.who.Operator
	if of == "" || c.who.Role.Covers(access.Chief) {
		of = ""
	}
	found, err := c.s.Access.Sessions(c.ctx, c.who.Tenant, of)
	if err != nil {
		return err
	}
	out := ListOf[OpenSession]{Object: "list", Data: []OpenSession{}}
	for _, v := range found {
		out.Data = append(out.Data, OpenSession{
			Object: "session", ID: v.ID, Operator: v.Operator, Method: string(v.Method), Client: v.Client, Current: v.ID == c.who.Session(),
			MadeAt: v.MadeAt, SeenAt: v.SeenAt, EndsAt: v.EndsAt,
		})
	}
	return c.reply(http.StatusOK, &out)
}

func (c *call) endSession() error {
	if err := c.s.Access.EndSession(c.ctx, &c.who, c.r.PathValue("id")); err != nil {
		return err
	}
	return c.reply(http.StatusOK, &Done{Object: "session", Status: "ended"})
}

// Passkey is one of a person's.
type Passkey struct {
	Object string     `json:"object" enum:"passkey"`
	ID     string     `json:"id"`
	Label  string     `json:"label"`
	Origin string     `json:"origin" doc:"The address of the console that it is good for"`
	MadeAt time.Time  `json:"made_at"`
	UsedAt *time.Time `json:"used_at,omitempty"`
}

func (c *call) listPasskeys() error {
	found, err := c.s.Access.PasskeysOf(c.ctx, c.who.Tenant, c.r.PathValue("name"))
	if err != nil {
		return err
	}
	out := ListOf[Passkey]{Object: "list", Data: []Passkey{}}
	for i := range found {
		k := &found[i]
		out.Data = append(out.Data, Passkey{Object: "passkey", ID: access.PasskeyText(k.ID), Label: k.Label, Origin: k.Origin, MadeAt: k.MadeAt, UsedAt: moment(k.UsedAt)})
	}
	return c.reply(http.StatusOK, &out)
}

// Removed acknowledges.
type Removed struct {
	Object string `json:"object" enum:"passkey"`
	Status string `json:"status" enum:"removed"`
}

func (c *call) removePasskey() error {
	id, err := access.ParsePasskey(c.r.PathValue("passkey"))
	if err != nil {
		return err
	}
	if err := c.s.Access.RemovePasskey(c.ctx, &c.who, c.r.PathValue("name"), id); err != nil {
		return err
	}
	return c.reply(http.StatusOK, &Removed{Object: "passkey", Status: "removed"})
}

// Deed is what a person did.
type Deed struct {
	Object   string    `json:"object" enum:"deed"`
	ID       int64     `json:"id"`
	Operator string    `json:"operator"`
	Action   string    `json:"action" doc:"The operation's id"`
	Subject  string    `json:"subject" doc:"The path"`
	Status   int       `json:"status" doc:"HTTP status; 0 when nobody saw the end"`
	Code     string    `json:"code,omitempty" doc:"Of the refusal"`
	At       time.Time `json:"at"`
}

const deedsMax = 500

func (c *call) listDeeds() error {
	q := c.r.URL.Query()
	n, err := limit(q, deedsMax)
	if err != nil {
		return err
	}
	var before int64
	if s := q.Get("after"); s != "" {
		if before, err = strconv.ParseInt(s, 10, 64); err != nil || before < 1 {
			return malformed("the cursor is not one that this list gave out").WithParam("after")
		}
	}
	found, err := c.s.Access.Deeds(c.ctx, c.who.Tenant, before, n+1)
	if err != nil {
		return err
	}
	out := ListOf[Deed]{Object: "list", HasMore: len(found) > n, Data: []Deed{}}
	for _, d := range found[:min(n, len(found))] {
		out.Data = append(out.Data, Deed{Object: "deed", ID: d.ID, Operator: d.Operator, Action: d.Action, Subject: d.Subject, Status: d.Status, Code: d.Code, At: d.At})
	}
	if out.HasMore {
		out.Next = strconv.FormatInt(out.Data[n-1].ID, 10)
		c.linkNext(out.Next)
	}
	return c.reply(http.StatusOK, &out)
}

var bodyFaults = []fault.Code{fault.UnknownField, fault.BodyTooLarge, fault.UnsupportedMediaType}

func peopleRoutes() []*route {
	name := pathID("name", "The operator's name")
	routes := []*route{
		{
			method: http.MethodPost, path: "/v1/sessions", id: "sign-in", tag: "people", summary: "Sign in with pass and code",
			about: "For operators whose credential is totp. The session ends after 15 minutes without a request, and after 12 hours; each code counts once.", body: of[SignIn](),
			answers: map[int]reflect.Type{201: of[Session]()}, faults: with(bodyFaults, fault.Unauthenticated, fault.RateLimited), do: (*call).signIn,
		},
		{
			method: http.MethodDelete, path: "/v1/sessions/current", id: "sign-out", tag: "people", summary: "Sign out", role: access.Viewer,
			answers: map[int]reflect.Type{200: of[Done]()}, do: (*call).signOut,
		},
		{
			method: http.MethodGet, path: "/v1/sessions", id: "list-sessions", tag: "people", summary: "List open sessions", scope: access.Admin,
			about:   "One's own, and for an admin those of the tenant. A session ends after 15 minutes without a request, and after 12 hours whatever is done in it.",
			answers: map[int]reflect.Type{200: of[ListOf[OpenSession]]()}, do: (*call).listSessions,
		},
		{
			method: http.MethodDelete, path: "/v1/sessions/{id}", id: "end-session", tag: "people", summary: "End a session",
			about: "One's own, or as an admin anybody's of the tenant; on every node within a second.", role: access.Viewer,
			params:  []*huma.Param{pathID("id", "Of the list of sessions")},
			answers: map[int]reflect.Type{200: of[Done]()}, faults: []fault.Code{fault.NotFound}, do: (*call).endSession,
		},
		{
			method: http.MethodGet, path: "/v1/operators/{name}/passkeys", id: "list-passkeys", tag: "people", summary: "List a person's passkeys", scope: access.Admin,
			about:  "They are made and used in the console.",
			params: []*huma.Param{name}, answers: map[int]reflect.Type{200: of[ListOf[Passkey]]()}, faults: []fault.Code{fault.NotFound}, do: (*call).listPasskeys,
		},
		{
			method: http.MethodDelete, path: "/v1/operators/{name}/passkeys/{passkey}", id: "remove-passkey", tag: "people", summary: "Remove a passkey",
			about: "One's own, or as an admin anybody's of the tenant. Sessions that it opened go on until they end; end them too.", role: access.Viewer,
			params:  []*huma.Param{name, pathID("passkey", "Of the list of passkeys")},
			answers: map[int]reflect.Type{200: of[Removed]()}, faults: []fault.Code{fault.NotFound}, do: (*call).removePasskey,
		},
		{
			method: http.MethodGet, path: "/v1/operators", id: "list-operators", tag: "people", summary: "List operators", scope: access.Admin,
			about: "By name, disabled ones too. One is added by an approval of the kind add_operator.", answers: map[int]reflect.Type{200: of[ListOf[Operator]]()}, do: (*call).listOperators,
		},
		{
			method: http.MethodPost, path: "/v1/operators/{name}/disable", id: "disable-operator", tag: "people", summary: "Disable an operator",
			about: "For good, on every node within a second; with them goes every approval of theirs that was not used. An admin does so alone, and everybody for themselves.",
			role:  access.Viewer, params: []*huma.Param{name}, answers: map[int]reflect.Type{200: of[Operator]()}, faults: []fault.Code{fault.NotFound}, do: (*call).disableOperator,
		},
		{
			method: http.MethodPost, path: "/v1/operators/{name}/rotate", id: "rotate-operator", tag: "people", summary: "Take a new credential",
			about: "For oneself; the old one stops, and sessions end.", role: access.Viewer, params: []*huma.Param{name}, body: of[NewCredential](),
			answers: map[int]reflect.Type{200: of[Operator]()}, faults: with(bodyFaults, fault.NotFound, fault.ApprovalRequired, fault.RateLimited), do: (*call).rotateOperator,
		},
		{
			method: http.MethodGet, path: "/v1/operators/deeds", id: "list-deeds", tag: "people", summary: "What people did",
			about: "Newest first: every change that an operator asked for, recorded before it was made.", scope: access.Admin, params: paging("500"),
			answers: map[int]reflect.Type{200: of[ListOf[Deed]]()}, faults: []fault.Code{fault.UnknownField}, do: (*call).listDeeds,
		},
	}
	return append(routes, approvalRoutes()...)
}
