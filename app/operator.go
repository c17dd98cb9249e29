package app

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/internal/clock"
)

// Person is how a command reaches the API as an operator.
type Person struct {
	// URL of a node.
	URL string
	// KeyFile is what enrol wrote.
	KeyFile string
	// Bearer is an API key, for commands that also take one; used without a KeyFile.
	Bearer string
	// Code is what the authenticator shows, for operators who sign in.
	Code string
	// Key names the intention of a proposal; empty makes one.
	Key  string
	JSON bool
	Lang string
	In   io.Reader
	// Out takes what scripts read, Err what people do.
	Out, Err io.Writer
}

const (
	personTimeout = 15 * time.Second
	proposeTries  = 3
	answerMax     = 1 << 20
)

// ReadKeyFile reads the secret half of a credential; one that others can read is
// refused.
func ReadKeyFile(path string) (access.KeyFile, error) {
	var k access.KeyFile
	info, err := os.Stat(path)
	if err != nil {
		return k, fmt.Errorf("read the operator's key: %w; `moneta operator enrol` writes one", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return k, fmt.Errorf("others can read %s: chmod 600 it, and rotate the key if somebody may have", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(raw, &k); err != nil {
		return k, fmt.Errorf("the key file %s is broken: %w", path, err)
	}
	return k, nil
}

// writeSecret writes a file for its owner's eyes, and never over another one.
func writeSecret(path string, v any) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the operator's key: %w", err)
	}
	if err := errors.Join(writeJSON(f, v), f.Sync(), f.Close()); err != nil {
		return err
	}
	return nil
}

func sessionPath(keyFile string) string { return keyFile + ".session" }

// session is the file in which login keeps the token.
type session struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}

// do makes one request and decodes the answer into out, unless that is nil.
func (p *Person) do(ctx context.Context, method, path string, body, out any) error {
	raw, err := p.raw(ctx, method, path, body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

func (p *Person) raw(ctx context.Context, method, path string, body any) ([]byte, error) {
	return p.keyed(ctx, method, path, "", body)
}

// keyed sends an Idempotency-Key with the request, unless it is empty.
func (p *Person) keyed(ctx context.Context, method, path, key string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, personTimeout)
	defer cancel()
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(p.URL, "/")+path, bytes.NewReader(sent))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
		req.GetBody = nil // else the transport sends it again by itself, with a signature that counts once
	}
	if err := p.sign(req, sent); err != nil {
		return nil, err
	}
	return answerTo(req)
}

// unanswered is a request of which nobody knows what became.
type unanswered struct{ error }

func (u *unanswered) Unwrap() error { return u.error }

// answerTo returns the body of the answer, or the problem as an error.
func answerTo(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, &unanswered{err}
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return nil, &unanswered{err}
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return raw, nil
	}
	var problem struct{ Title, Code, Detail, Resource string }
	if json.Unmarshal(raw, &problem) != nil || problem.Code == "" {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	text := problem.Title + " (" + problem.Code + ")"
	if problem.Detail != "" {
		text += ": " + problem.Detail
	}
	return nil, errors.New(text)
}

// sign proves who asks: by a signature, or by the session that login opened.
func (p *Person) sign(req *http.Request, body []byte) error {
	if p.KeyFile == "" && p.Bearer != "" {
		req.Header.Set("Authorization", "Bearer "+p.Bearer)
		return nil
	}
	if p.KeyFile == "" {
		return errors.New("say who you are: --as FILE, or MONETA_OPERATOR; `moneta operator enrol` writes the file")
	}
	k, err := ReadKeyFile(p.KeyFile)
	if err != nil {
		return err
	}
	if k.Method == access.Ed25519 {
		return k.Sign(req, body, time.Now())
	}
	raw, err := os.ReadFile(sessionPath(p.KeyFile))
	if err != nil {
		return errors.New("sign in first: `moneta operator login --code …`")
	}
	var s session
	if err := json.Unmarshal(raw, &s); err != nil || time.Now().After(s.ExpiresAt) {
		return errors.New("the session is over: `moneta operator login --code …`")
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	return nil
}

// OperatorLogin opens a session with pass and code and keeps it beside the key.
func OperatorLogin(ctx context.Context, p *Person) error {
	k, err := ReadKeyFile(p.KeyFile)
	if err != nil {
		return err
	}
	if k.Method != access.TOTP {
		return fmt.Errorf("%s signs every request and needs no session", k.Operator)
	}
	ctx, cancel := context.WithTimeout(ctx, personTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]string{"code": p.Code})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(p.URL, "/")+"/v1/sessions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+k.Pass)
	raw, err := answerTo(req)
	if err != nil {
		return err
	}
	var s session
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	_ = os.Remove(sessionPath(p.KeyFile))
	if err := writeSecret(sessionPath(p.KeyFile), s); err != nil {
		return err
	}
	return p.tell("signed-in", k.Operator, s.ExpiresAt.UTC().Format(time.RFC3339))
}

func (p *Person) tell(key string, args ...any) error {
	_, err := io.WriteString(p.Err, say(p.Lang, key, args...))
	return err
}

// OperatorEnrol makes a credential: the secret half goes into a new file that only
// its owner can read, the public half to whoever adds the operator.
func OperatorEnrol(p *Person, name string, codes bool) error {
	method := access.Ed25519
	if codes {
		method = access.TOTP
	}
	secret, credential, address, err := access.Enrol(name, method)
	if err != nil {
		return err
	}
	if err := writeSecret(p.KeyFile, secret); err != nil {
		return err
	}
	if p.JSON {
		return writeJSON(p.Out, map[string]string{"operator": name, "key_file": p.KeyFile, "credential": credential, "authenticator": address})
	}
	if _, err := fmt.Fprintln(p.Out, credential); err != nil {
		return err
	}
	if err := p.tell("enrolled", name, p.KeyFile); err != nil || address == "" {
		return err
	}
	return p.tell("enrolled-codes", address)
}

// OperatorAdd adds an operator: as a person by proposing it, without one at the
// database itself, which serves to begin with.
func OperatorAdd(ctx context.Context, d Database, p *Person, tenant, name, role, credential, reason string) error {
	if p.KeyFile != "" {
		return Propose(ctx, p, "add_operator", map[string]string{"name": name, "role": role, "credential": credential}, reason, time.Time{})
	}
	store, id, done, err := d.keys(ctx, tenant)
	if err != nil {
		return err
	}
	defer done()
	o, err := store.AddLocally(ctx, id, name, access.Role(role), credential)
	if errors.Is(err, fault.ApprovalRequired) {
		return errors.New("two people may approve already: propose it with --as FILE, and have another one approve it")
	}
	if err != nil {
		return err
	}
	if p.JSON {
		return writeJSON(p.Out, o)
	}
	return p.tell("operator-added", o.Name, o.Role)
}

// OperatorInvite adds an operator who has no credential yet, in one of both ways, and
// prints the link by which they make one. Who has the link is who they are: it goes to
// them, and to nobody else.
func OperatorInvite(ctx context.Context, d Database, p *Person, tenant, name, role, reason string) error {
	token, credential := access.Invite(clock.System.Now().Add(access.InvitationMax))
	if err := OperatorAdd(ctx, d, p, tenant, name, role, credential, reason); err != nil {
		return err
	}
	base := "http://localhost" + consolePort
	if at, err := findWatch(d.DataDir); err == nil {
		base = cmp.Or(at.Console, byName(at.URL))
	}
	if _, err := fmt.Fprintln(p.Out, base+"/enrol#token="+token); err != nil {
		return err
	}
	return p.tell("invited", name)
}

// consolePort is where the console is if nobody says otherwise.
const consolePort = ":7072"

// byName writes localhost for an address of this machine: passkeys belong to names.
func byName(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() {
		u.Host = "localhost"
		if port := portOf(address); port != "" {
			u.Host = net.JoinHostPort("localhost", port)
		}
	}
	return u.String()
}

func portOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Port()
}

// OperatorList shows the people of a tenant.
func OperatorList(ctx context.Context, d Database, p *Person, tenant string) error {
	store, id, done, err := d.keys(ctx, tenant)
	if err != nil {
		return err
	}
	defer done()
	list, err := store.Operators(ctx, id)
	if err != nil {
		return err
	}
	if p.JSON {
		return writeJSON(p.Out, list)
	}
	t := tabwriter.NewWriter(p.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tROLE\tCREDENTIAL\tADDED BY\tSTATE")
	for _, o := range list {
		state := "active"
		if !o.DisabledAt.IsZero() {
			state = "disabled " + o.DisabledAt.Format("2006-01-02 15:04:05Z") + " by " + o.DisabledBy
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", o.Name, o.Role, o.Method, o.CreatedBy, state)
	}
	return t.Flush()
}

// OperatorLog shows what the people of a tenant did, newest first.
func OperatorLog(ctx context.Context, d Database, p *Person, tenant string, limit int) error {
	store, id, done, err := d.keys(ctx, tenant)
	if err != nil {
		return err
	}
	defer done()
	list, err := store.Deeds(ctx, id, 0, min(max(limit, 1), 1000))
	if err != nil {
		return err
	}
	if p.JSON {
		return writeJSON(p.Out, list)
	}
	t := tabwriter.NewWriter(p.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "AT\tOPERATOR\tACTION\tSUBJECT\tEND")
	for _, x := range list {
		end := "not seen"
		if x.Status != 0 {
			end = strings.TrimSpace(fmt.Sprint(x.Status, " ", x.Code))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", x.At.Format("2006-01-02 15:04:05Z"), x.Operator, x.Action, x.Subject, end)
	}
	return t.Flush()
}

// OperatorDisable ends an operator: as an admin, or at the database itself.
func OperatorDisable(ctx context.Context, d Database, p *Person, tenant, name string) error {
	if p.KeyFile != "" {
		if err := p.do(ctx, http.MethodPost, "/v1/operators/"+name+"/disable", nil, nil); err != nil {
			return err
		}
		return p.tell("operator-disabled", name)
	}
	store, id, done, err := d.keys(ctx, tenant)
	if err != nil {
		return err
	}
	defer done()
	if _, err := store.Disable(ctx, id, name, access.Local); err != nil {
		return err
	}
	return p.tell("operator-disabled", name)
}

// OperatorRotate gives the person a new key. The new file is written first and
// takes the old one's place when the server has taken the key: whatever breaks in
// between, one of the two files is good.
func OperatorRotate(ctx context.Context, p *Person) error {
	old, err := ReadKeyFile(p.KeyFile)
	if err != nil {
		return err
	}
	secret, credential, address, err := access.Enrol(old.Operator, old.Method)
	if err != nil {
		return err
	}
	next := p.KeyFile + ".new"
	if err := writeSecret(next, secret); err != nil {
		return fmt.Errorf("%w; an earlier rotation may have broken off: try the key in it, then remove one of the two", err)
	}
	err = p.do(ctx, http.MethodPost, "/v1/operators/"+old.Operator+"/rotate", map[string]string{"credential": credential, "code": p.Code}, nil)
	if err != nil {
		return fmt.Errorf("%w; the new key is in %s, in case the server took it", err, next)
	}
	if err := os.Rename(next, p.KeyFile); err != nil {
		return err
	}
	if err := p.tell("rotated", old.Operator, p.KeyFile); err != nil || address == "" {
		return err
	}
	return p.tell("enrolled-codes", address)
}

// Approvals, as the API tells of them.

type shownApproval struct {
	ID         string            `json:"id"`
	Tenant     int32             `json:"tenant"`
	Kind       string            `json:"kind"`
	Parameters access.Parameters `json:"parameters"`
	Reason     string            `json:"reason"`
	Maker      string            `json:"maker"`
	ExpiresAt  time.Time         `json:"expires_at"`
	Hash       string            `json:"hash"`
	Words      map[string]string `json:"words"`
	State      string            `json:"state"`
	Service    bool              `json:"service"`
	Endorser   string            `json:"endorser"`
	Checker    string            `json:"checker"`
	Note       string            `json:"note"`
	UsedBy     string            `json:"used_by"`
	Outcome    string            `json:"outcome"`
	Result     string            `json:"result"`
}

// maker says of a machine that it is one.
func (v *shownApproval) maker(lang string) string {
	if v.Service {
		return v.Maker + say(lang, "appr-machine")
	}
	return v.Maker
}

// deciders are who have agreed so far, and for a machine's proposal out of how many.
func (v *shownApproval) deciders(lang string) string {
	if !v.Service || v.Checker != "" || v.State != string(access.Proposed) {
		return strings.Join(slices.DeleteFunc([]string{v.Endorser, v.Checker}, func(s string) bool { return s == "" }), ", ")
	}
	n := 0
	if v.Endorser != "" {
		n = 1
	}
	return strings.TrimSpace(v.Endorser + " " + say(lang, "appr-of-two", n))
}

// action hashes what is shown, here: who signs, signs what they saw, whatever the
// server says of it.
func (v *shownApproval) action() (access.Action, error) {
	id, err := access.ParseApprovalID(v.ID)
	if err != nil {
		return access.Action{}, err
	}
	a := access.Action{ID: id, Tenant: v.Tenant, Kind: v.Kind, Parameters: v.Parameters, Reason: v.Reason, Maker: v.Maker, ExpiresAt: v.ExpiresAt}
	if access.HashText(a.Hash()) != v.Hash {
		return a, errors.New("the server shows an action that does not have the hash it names: do not approve it, and tell security")
	}
	return a, nil
}

// Propose asks for an action; another person decides.
func Propose(ctx context.Context, p *Person, kind string, parameters map[string]string, reason string, expires time.Time) error {
	body := map[string]any{"kind": kind, "parameters": parameters, "reason": reason}
	if !expires.IsZero() {
		body["expires_at"] = expires.UTC().Format(time.RFC3339)
	}
	raw, err := p.propose(ctx, body)
	if err != nil {
		return err
	}
	if p.JSON {
		return p.showRaw(raw, "")
	}
	shown := *p
	shown.Out = p.Err
	if err := shown.showRaw(raw, "proposed-now"); err != nil {
		return err
	}
	var v shownApproval
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.Out, v.ID)
	return err
}

// propose sends one intention, and sends it again where no answer came: the same key is
// the same proposal.
func (p *Person) propose(ctx context.Context, body any) ([]byte, error) {
	key := p.Key
	if key == "" {
		key = "propose-" + rand.Text()
	}
	for try := 1; ; try++ {
		raw, err := p.keyed(ctx, http.MethodPost, "/v1/approvals", key, body)
		var lost *unanswered
		switch {
		case !errors.As(err, &lost):
			return raw, err
		case try == proposeTries || ctx.Err() != nil:
			return nil, fmt.Errorf("%w; it may have been proposed all the same: with --key %s the same command proposes nothing a second time", err, key)
		}
	}
}

func (p *Person) showRaw(raw []byte, after string) error {
	if p.JSON {
		_, err := p.Out.Write(raw)
		return err
	}
	var v shownApproval
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	if err := p.show(&v); err != nil || after == "" {
		return err
	}
	return p.tell(after, v.ID)
}

// show writes the exact action, in plain words first. A parameter of several lines
// is marked on each, so that none of them can pass for one of ours.
func (p *Person) show(v *shownApproval) error {
	if _, err := v.action(); err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.Out, 0, 4, 2, ' ', 0)
	words := v.Words[p.Lang]
	if words == "" {
		words = v.Kind
	}
	fmt.Fprintf(w, "%s\n\n", marked(words))
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", say(p.Lang, key), marked(value))
		}
	}
	line("appr-id", v.ID)
	line("appr-kind", v.Kind)
	for _, name := range v.Parameters.Names() {
		fmt.Fprintf(w, "    %s\t%s\n", name, marked(v.Parameters[name]))
	}
	line("appr-reason", v.Reason)
	line("appr-maker", v.maker(p.Lang))
	line("appr-expires", v.ExpiresAt.UTC().Format(time.RFC3339))
	line("appr-hash", v.Hash)
	line("appr-state", v.State)
	line("appr-endorser", v.Endorser)
	line("appr-checker", v.Checker)
	line("appr-note", v.Note)
	line("appr-used", v.UsedBy)
	line("appr-outcome", strings.TrimSpace(v.Outcome+" "+v.Result))
	return w.Flush()
}

func marked(s string) string { return strings.ReplaceAll(s, "\n", "\n  | ") }

// ApproveList shows approvals, newest first.
func ApproveList(ctx context.Context, p *Person, state string) error {
	path := "/v1/approvals?limit=100"
	if state != "" {
		path += "&state=" + state
	}
	raw, err := p.raw(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if p.JSON {
		_, err := p.Out.Write(raw)
		return err
	}
	var list struct{ Data []shownApproval }
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	t := tabwriter.NewWriter(p.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tMAKER\tCHECKER\tEXPIRES\tWHAT")
	for i := range list.Data {
		v := &list.Data[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", v.ID, strings.TrimSpace(v.State+" "+v.Outcome), v.maker(p.Lang), v.deciders(p.Lang),
			v.ExpiresAt.UTC().Format("15:04:05Z"), strings.ReplaceAll(v.Words[p.Lang], "\n", " "))
	}
	return t.Flush()
}

// ApproveShow shows one approval.
func ApproveShow(ctx context.Context, p *Person, id string) error {
	raw, err := p.raw(ctx, http.MethodGet, "/v1/approvals/"+id, nil)
	if err != nil {
		return err
	}
	return p.showRaw(raw, "")
}

// Verb is what a person does with an approval.
type Verb string

// The verbs, as the API names them.
const (
	Approve  Verb = "approve"
	Reject   Verb = "reject"
	Withdraw Verb = "withdraw"
	Execute  Verb = "execute"
)

// ApproveDo shows the exact action, asks (unless sure), and does it.
func ApproveDo(ctx context.Context, p *Person, id string, verb Verb, note string, sure bool) error {
	var v shownApproval
	if err := p.do(ctx, http.MethodGet, "/v1/approvals/"+id, nil, &v); err != nil {
		return err
	}
	a, err := v.action()
	if err != nil {
		return err
	}
	if !sure {
		if err := p.ask(ctx, &v, verb); err != nil {
			return err
		}
	}
	var body map[string]string
	if verb != Withdraw {
		body = map[string]string{"hash": v.Hash}
	}
	if note != "" {
		body["note"] = note
	}
	if verb == Approve {
		if err := p.confirm(body, &a); err != nil {
			return err
		}
	}
	raw, err := p.raw(ctx, http.MethodPost, "/v1/approvals/"+id+"/"+string(verb), body)
	if err != nil {
		return err
	}
	after := map[Verb]string{Approve: "approved-now"}[verb]
	var now shownApproval
	if json.Unmarshal(raw, &now) == nil && now.State == string(access.Proposed) && after != "" {
		after = "endorsed-now" // a machine's proposal waits for one more
	}
	return p.showRaw(raw, after)
}

// ask shows the action, and before a yes what else is open on the same payment, and
// reads a yes.
func (p *Person) ask(ctx context.Context, v *shownApproval, verb Verb) error {
	if err := p.show(v); err != nil {
		return err
	}
	if verb == Approve {
		if err := p.showBeside(ctx, v); err != nil {
			return err
		}
	}
	if err := p.tell("ask-" + string(verb)); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(p.In, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes", "是":
		return nil
	}
	return &ExitError{Code: 1, Message: say(p.Lang, "left-alone")}
}

// showBeside shows what else is proposed or agreed on, and not done, about the payment.
func (p *Person) showBeside(ctx context.Context, v *shownApproval) error {
	payment := v.Parameters["payment"]
	if payment == "" {
		return nil
	}
	var list struct{ Data []shownApproval }
	if err := p.do(ctx, http.MethodGet, "/v1/approvals?limit=100&payment="+url.QueryEscape(payment), nil, &list); err != nil {
		_, err = fmt.Fprintf(p.Out, "\n  %s\n", say(p.Lang, "appr-beside-unknown", payment, err))
		return err
	}
	begun := false
	for i := range list.Data {
		o := &list.Data[i]
		open := o.State == string(access.Proposed) || o.State == string(access.Approved)
		if o.ID == v.ID || !open {
			continue
		}
		if !begun {
			fmt.Fprintf(p.Out, "\n  %s\n", say(p.Lang, "appr-beside", payment))
			begun = true
		}
		if _, err := fmt.Fprintf(p.Out, "    %s  %s  %s: %s\n", o.ID, o.State, o.Maker, marked(cmp.Or(o.Words[p.Lang], o.Kind))); err != nil {
			return err
		}
	}
	return nil
}

// confirm adds the checker's own proof: a signature of what was shown, or a code.
func (p *Person) confirm(body map[string]string, a *access.Action) error {
	k, err := ReadKeyFile(p.KeyFile)
	if err != nil {
		return err
	}
	if k.Method == access.TOTP {
		if p.Code == "" {
			return errors.New("approving needs a fresh code: --code")
		}
		body["code"] = p.Code
		return nil
	}
	signature, err := k.Approve(a)
	if err != nil {
		return err
	}
	body["signature"] = base64.RawURLEncoding.EncodeToString(signature)
	return nil
}
