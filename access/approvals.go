package access

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/moneta-pay/moneta/fault"
)

// State is where an approval stands. Rejected, expired, withdrawn and used are
// final; used says that it cannot be used again, Outcome what came of it.
type State string

// The states.
const (
	Proposed  State = "proposed"
	Approved  State = "approved"
	Used      State = "used"
	Rejected  State = "rejected"
	Expired   State = "expired"
	Withdrawn State = "withdrawn"
)

// States lists all states.
func States() []State { return []State{Proposed, Approved, Used, Rejected, Expired, Withdrawn} }

// How long a proposal stands.
const (
	ApprovalDefault = 30 * time.Minute
	ApprovalMax     = 24 * time.Hour
)

// Outcomes of a used approval.
const (
	Done    = "done"
	Refused = "refused"
)

// Approval is an action and what became of it.
type Approval struct {
	Action
	Hash  [sha256.Size]byte
	State State
	// Service says that a machine proposed it. Two people agree then: the Endorser first,
	// the Checker after that.
	Service    bool
	Endorser   string
	EndorsedAt time.Time
	Checker    string
	// CheckedAt and the other times are zero as long as it has not happened.
	CheckedAt time.Time
	Method    Method
	Note      string
	UsedBy    string
	UsedAt    time.Time
	// Outcome is Done or Refused; empty while it is not known.
	Outcome    string
	Result     string
	FinishedAt time.Time
	// Words say in plain words what will happen.
	Words fault.Text

	seq                      int64
	checkKey, checkSignature []byte
	endorseMethod            Method
	endorseKey, endorseSign  []byte
	parameters               string
	hasExpired               bool
}

// Approvals lets two people agree on an action, and carries it out once.
type Approvals struct {
	store *Store
	pool  *pgxpool.Pool
	log   *slog.Logger
	kinds map[string]*Kind
	// As of the last round of Run.
	waiting, unfinished atomic.Int64
}

// Measure shows how many proposals wait for their second person, and how many
// used approvals nobody has finished in time: the latter must be zero.
func (a *Approvals) Measure(reg prometheus.Registerer) {
	gauge := func(name, help string, n *atomic.Int64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(n.Load()) }))
	}
	gauge("moneta_approvals_waiting", "Proposals that wait for a second person.", &a.waiting)
	gauge("moneta_approvals_unfinished", "Approvals that were used and have had no outcome for longer than carrying out may take.", &a.unfinished)
}

// NewApprovals knows the kinds that concern people and keys; Register adds more.
func NewApprovals(s *Store, log *slog.Logger) *Approvals {
	a := &Approvals{store: s, pool: s.pool, log: log.With(slog.String("part", "approvals")), kinds: make(map[string]*Kind)}
	for _, k := range s.kinds() {
		a.Register(k)
	}
	return a
}

// Register adds a kind, before the first use of a. A kind that is not whole, or
// there already, is a mistake of the program and panics.
func (a *Approvals) Register(k Kind) {
	if k.Service != (k.Name == KindCompensateBreak) {
		panic("access: what a service proposes is a rule of the database")
	}
	if k.Name == "" || k.Describe == nil || (k.Apply == nil) == (k.Perform == nil) || a.kinds[k.Name] != nil || len(k.Members) > parametersMax {
		panic("access: the kind of action " + k.Name + " is not whole, or registered twice")
	}
	if k.Least == "" {
		k.Least = Operate
	}
	a.kinds[k.Name] = &k
}

// Kinds names what can be proposed, sorted.
func (a *Approvals) Kinds() []Kind {
	out := make([]Kind, 0, len(a.kinds))
	for _, name := range slices.Sorted(maps.Keys(a.kinds)) {
		out = append(out, *a.kinds[name])
	}
	return out
}

// Proposal is what a maker asks for.
type Proposal struct {
	Kind       string
	Parameters Parameters
	Reason     string
	// ExpiresAt is until when it stands; in ApprovalDefault when zero.
	ExpiresAt time.Time
	// Key is the maker's name for the intention: once more is the same proposal. ""
	// means that each is another one.
	Key string
}

// errKnown says that the key is another's who was first.
var errKnown = errors.New("the key is known")

// Propose keeps a proposal. Nothing happens until somebody else approves it. One with a
// Key that its maker has used is answered with the proposal of then, as it is now; with another content it is fault.IdempotencyKeyReused.
func (a *Approvals) Propose(ctx context.Context, who *Principal, p Proposal) (v Approval, err error) {
	v, _, err = a.ProposeOnce(ctx, who, p)
	return v, err
}

// ProposeOnce is Propose, and tells whether the proposal was there already.
func (a *Approvals) ProposeOnce(ctx context.Context, who *Principal, p Proposal) (v Approval, replayed bool, err error) {
	if v, replayed, err = a.proposed(ctx, who, &p); err != nil || replayed {
		return v, replayed, err
	}
	asked := p
	v, err = a.propose(ctx, who, p)
	if errors.Is(err, errKnown) {
		return a.proposed(ctx, who, &asked)
	}
	return v, false, err
}

// proposed finds what who has proposed under the key.
func (a *Approvals) proposed(ctx context.Context, who *Principal, p *Proposal) (v Approval, found bool, err error) {
	const op = "access.Propose"
	if p.Key == "" {
		return v, false, nil
	}
	if err := person(who, Viewer); err != nil {
		return v, false, err
	}
	var id ApprovalID
	err = a.pool.QueryRow(ctx, `select approval from proposal_keys where tenant = $1 and maker = $2 and key = $3`, who.Tenant, who.Operator, p.Key).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, false, nil
	}
	if err != nil {
		return v, false, faultOf(op, err)
	}
	if v, err = a.One(ctx, who.Tenant, id); err != nil {
		return v, false, err
	}
	if v.Kind != p.Kind || v.Reason != p.Reason || v.Parameters.Canonical() != p.Parameters.Canonical() ||
		!p.ExpiresAt.IsZero() && !v.ExpiresAt.Equal(p.ExpiresAt.UTC().Truncate(time.Second)) {
		return Approval{}, false, fault.New(fault.IdempotencyKeyReused, "you proposed something else under this key").WithOp(op).WithResource(id.String())
	}
	return v, true, nil
}

func (a *Approvals) propose(ctx context.Context, who *Principal, p Proposal) (Approval, error) {
	const op = "access.Propose"
	if p.Reason == "" || len(p.Reason) > reasonMax || !readable(p.Reason) {
		return Approval{}, fault.New(fault.MalformedRequest, "give a reason of 1 to 500 bytes that people can read").WithParam("/reason")
	}
	act, _, err := a.draft(ctx, op, who, &p)
	if err != nil {
		return Approval{}, err
	}
	hash := act.Hash()
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into approvals (id, tenant, kind, parameters, reason, hash, maker, made_at, expires_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			act.ID, act.Tenant, act.Kind, act.Parameters.Canonical(), act.Reason, hash[:], act.Maker, act.MadeAt, act.ExpiresAt)
		if err != nil || p.Key == "" {
			return err
		}
		tag, err := tx.Exec(ctx, `insert into proposal_keys (tenant, maker, key, approval) values ($1, $2, $3, $4) on conflict do nothing`,
			act.Tenant, act.Maker, p.Key, act.ID)
		if err == nil && tag.RowsAffected() == 0 {
			err = errKnown // the proposal is rolled back
		}
		return err
	})
	if errors.Is(err, errKnown) {
		return Approval{}, err
	}
	if err != nil {
		return Approval{}, faultOf(op, err)
	}
	return a.One(ctx, who.Tenant, act.ID)
}

// Preview says what an action would do as things are now, and keeps nothing: the same
// is refused that Propose refuses, and what would be refused if it were carried out now.
func (a *Approvals) Preview(ctx context.Context, who *Principal, p Proposal) (fault.Text, []Movement, error) {
	act, kind, err := a.draft(ctx, "access.Preview", who, &p)
	if err != nil || kind.Moves == nil {
		return describe(kind, &act), nil, err
	}
	moves, err := kind.Moves(ctx, &act)
	return describe(kind, &act), moves, err
}

func describe(k *Kind, act *Action) fault.Text {
	if k == nil {
		return fault.Text{}
	}
	return k.Describe(act)
}

// draft is the action that a proposal asks for, after everything that can be checked of it.
func (a *Approvals) draft(ctx context.Context, op string, who *Principal, p *Proposal) (Action, *Kind, error) {
	kind := a.kinds[p.Kind]
	if kind == nil {
		return Action{}, nil, fault.New(fault.MalformedRequest, "no such kind of action").WithOp(op).WithParam("/kind")
	}
	if err := mayPropose(who, kind); err != nil {
		return Action{}, nil, err
	}
	if kind.Installation && !who.May(Installation) {
		return Action{}, nil, fault.New(fault.Forbidden, "this concerns every tenant, and is for those who run the installation").WithOp(op)
	}
	if err := kind.check(p.Parameters); err != nil {
		return Action{}, nil, err
	}
	now, err := a.databaseTime(ctx)
	if err != nil {
		return Action{}, nil, faultOf(op, err)
	}
	if p.ExpiresAt.IsZero() {
		p.ExpiresAt = now.Add(ApprovalDefault)
	}
	act := Action{
		ID: newApprovalID(), Tenant: who.Tenant, Kind: p.Kind, Parameters: p.Parameters, Reason: p.Reason, Maker: who.Operator, MadeAt: now,
		ExpiresAt: p.ExpiresAt.UTC().Truncate(time.Second),
	}
	if act.ExpiresAt.Before(now) || act.ExpiresAt.After(now.Add(ApprovalMax)) {
		return Action{}, nil, fault.New(fault.MalformedRequest, "a proposal stands for 24 hours at most").WithParam("/expires_at")
	}
	if kind.Check != nil {
		err = kind.Check(ctx, &act)
	}
	return act, kind, err
}

func (a *Approvals) databaseTime(ctx context.Context) (now time.Time, err error) {
	err = a.pool.QueryRow(ctx, `select clock_timestamp()`).Scan(&now)
	return now.UTC(), err
}

// mayPropose keeps people and the service apart: each has kinds of its own.
func mayPropose(who *Principal, k *Kind) error {
	if !k.Service {
		return person(who, k.Least)
	}
	if who.Role != Service {
		return fault.New(fault.Forbidden, "only the doctor proposes this, from what a break owes; people propose compensate")
	}
	return nil
}

// person refuses keys, services, and people without the role.
func person(who *Principal, least Role) error {
	if who.Operator == "" || who.Role == Service {
		return fault.New(fault.Forbidden, "this is for people; an operator signs in or signs")
	}
	if !who.Role.Covers(least) {
		return fault.New(fault.Forbidden, "this needs the role "+string(least))
	}
	return nil
}

// Approve is the second person's word. hash is that of the action as they saw it;
// signature is theirs of CheckStatement, or nil for somebody who has just
// confirmed with a code; ApproveByPasskey is for those who have a passkey. The errors: fault.ApprovalOwn for the maker,
// fault.ApprovalChanged when the action is another one, fault.ApprovalClosed when
// it does not wait for approval any more.
func (a *Approvals) Approve(ctx context.Context, who *Principal, id ApprovalID, hash [sha256.Size]byte, signature []byte, note string) (Approval, error) {
	const op = "access.Approve"
	v, err := a.judged(ctx, who, id, hash, note)
	if err != nil {
		return Approval{}, err
	}
	var key []byte
	switch who.Method {
	case TOTP:
	case Passkey, Invited, None:
		return Approval{}, fault.New(fault.SignatureInvalid, "this session was opened with a passkey: approve with one").WithParam("/assertion")
	case Ed25519:
		// The key of now, from the database: a rotated one counts no longer.
		err := a.pool.QueryRow(ctx, `select public_key from operators where name = $1 and tenant = $2 and public_key is not null and disabled_at is null`,
			who.Operator, who.Tenant).Scan(&key)
		if errors.Is(err, pgx.ErrNoRows) {
			return Approval{}, fault.New(fault.Unauthenticated, "this operator has no signing key any more")
		}
		if err != nil {
			return Approval{}, faultOf(op, err)
		}
		if !ed25519.Verify(key, CheckStatement(id, v.Hash), signature) {
			return Approval{}, fault.New(fault.SignatureInvalid, "the signature does not fit the approval's id and hash").WithParam("/signature")
		}
	}
	return a.agree(ctx, op, who, &v, who.Method, key, signature, note, hash[:])
}

// ApproveByPasskey is Approve for somebody who says yes with a passkey of their own:
// assertion is the authenticator's answer to PasskeyChallenge of CheckStatement. It is
// kept like a signature, and verified again right before the act.
func (a *Approvals) ApproveByPasskey(ctx context.Context, who *Principal, id ApprovalID, hash [sha256.Size]byte, assertion, note string) (Approval, error) {
	v, err := a.judged(ctx, who, id, hash, note)
	if err != nil {
		return Approval{}, err
	}
	key, proof, err := a.store.ConfirmPasskey(ctx, who, assertion, CheckStatement(id, v.Hash))
	if err != nil {
		return Approval{}, err
	}
	return a.agree(ctx, "access.ApproveByPasskey", who, &v, Passkey, key, proof, note, hash[:])
}

// agree is a person's yes. What a service proposed takes two of them; the first one leaves
// it proposed.
func (a *Approvals) agree(ctx context.Context, op string, who *Principal, v *Approval, method Method, key, proof []byte, note string, hash []byte) (Approval, error) {
	if v.Endorser == who.Operator {
		return *v, fault.New(fault.ApprovalOwn, "you have agreed already; a machine proposed this, so that somebody else has to as well").WithResource(v.ID.String())
	}
	if v.Service && v.Endorser == "" {
		now, err := a.decide(ctx, op, who, v, endorseProposed, method, key, proof, hash)
		if meanwhile := errors.Is(err, fault.ApprovalClosed) && now.State == Proposed && now.Endorser != who.Operator; !meanwhile {
			return now, err
		}
	}
	return a.decide(ctx, op, who, v, approveProposed, method, key, proof, note, hash)
}

const endorseProposed = `update approvals set endorser = $2, endorsed_at = clock_timestamp(), endorse_method = $3, endorse_key = $4, endorse_signature = $5
	where id = $1 and state = 'proposed' and maker <> $2 and endorser is null and hash = $6 and expires_at > clock_timestamp()`

const approveProposed = `update approvals set state = 'approved', checker = $2, checked_at = clock_timestamp(), check_method = $3,
	check_key = $4, check_signature = $5, note = nullif($6, '')
	where id = $1 and state = 'proposed' and maker <> $2 and hash = $7 and expires_at > clock_timestamp()`

// Reject is the second person's no; final.
func (a *Approvals) Reject(ctx context.Context, who *Principal, id ApprovalID, hash [sha256.Size]byte, note string) (Approval, error) {
	v, err := a.judged(ctx, who, id, hash, note)
	if err != nil {
		return Approval{}, err
	}
	return a.decide(ctx, "access.Reject", who, &v, `update approvals set state = 'rejected', checker = $2, checked_at = clock_timestamp(), note = nullif($3, '')
		where id = $1 and state = 'proposed' and maker <> $2 and expires_at > clock_timestamp()`, note)
}

// Withdraw takes a proposal back that was not used yet: its maker may, and an admin.
func (a *Approvals) Withdraw(ctx context.Context, who *Principal, id ApprovalID) (Approval, error) {
	if err := person(who, Operate); err != nil {
		return Approval{}, err
	}
	v, err := a.One(ctx, who.Tenant, id)
	if err != nil {
		return Approval{}, err
	}
	if v.Maker != who.Operator && !who.Role.Covers(Chief) {
		return Approval{}, fault.New(fault.Forbidden, "only "+v.Maker+" or an admin withdraws this")
	}
	return a.decide(ctx, "access.Withdraw", who, &v, `update approvals set state = 'withdrawn'
		where id = $1 and state in ('proposed', 'approved') and (maker = $2 or $3)`, who.Role.Covers(Chief))
}

// judged reads what a checker is about to judge and refuses who may not.
func (a *Approvals) judged(ctx context.Context, who *Principal, id ApprovalID, hash [sha256.Size]byte, note string) (Approval, error) {
	if err := person(who, Approver); err != nil {
		return Approval{}, err
	}
	if len(note) > reasonMax || !readable(note) {
		return Approval{}, fault.New(fault.MalformedRequest, "a note has at most 500 bytes that people can read").WithParam("/note")
	}
	v, err := a.One(ctx, who.Tenant, id)
	switch {
	case err != nil:
		return v, err
	case v.Maker == who.Operator:
		return v, fault.New(fault.ApprovalOwn, "you proposed this; somebody else decides").WithResource(id.String())
	case v.Hash != hash:
		return v, changed(id)
	}
	return v, a.intact(&v)
}

func changed(id ApprovalID) error {
	return fault.New(fault.ApprovalChanged, "the action is not the one that was seen; look at it again").WithResource(id.String())
}

// intact hashes the action again, as it is stored now.
func (a *Approvals) intact(v *Approval) error {
	if again := v.Action.Hash(); again != v.Hash || v.Parameters.Canonical() != v.parameters {
		return changed(v.ID)
	}
	return nil
}

// decide moves an approval and returns it as it is then; one that had moved
// meanwhile is fault.ApprovalClosed.
func (a *Approvals) decide(ctx context.Context, op string, who *Principal, v *Approval, update string, args ...any) (Approval, error) {
	tag, err := a.pool.Exec(ctx, update, append([]any{v.ID, who.Operator}, args...)...)
	if err != nil {
		return Approval{}, faultOf(op, err)
	}
	now, err := a.One(ctx, v.Tenant, v.ID)
	if err == nil && tag.RowsAffected() != 1 {
		return now, closed(&now)
	}
	return now, err
}

func closed(v *Approval) error {
	why := fmt.Sprintf("it is %s", v.State)
	if v.State == Used && v.Outcome != "" {
		why += " by " + v.UsedBy + ": " + v.Outcome
	} else if v.State == Used {
		why += " by " + v.UsedBy + " and being carried out"
	}
	return fault.New(fault.ApprovalClosed, why).WithResource(v.ID.String())
}

const approvalColumns = `a.id, a.seq, a.tenant, a.kind, a.parameters, a.reason, a.hash, a.maker, a.made_at, a.expires_at, a.state,
  a.expires_at <= clock_timestamp(), coalesce(a.checker, ''), a.checked_at, coalesce(a.check_method, ''), a.check_key, a.check_signature, coalesce(a.note, ''),
  coalesce(a.used_by, ''), a.used_at, a.finished_at, coalesce(a.outcome, ''), coalesce(a.result, ''),
  is_service(a.maker), coalesce(a.endorser, ''), a.endorsed_at, coalesce(a.endorse_method, ''), a.endorse_key, a.endorse_signature`

func (a *Approvals) scan(row pgx.CollectableRow) (Approval, error) {
	var v Approval
	var hash []byte
	var checked, used, finished, endorsed *time.Time
	err := row.Scan(&v.ID, &v.seq, &v.Tenant, &v.Kind, &v.parameters, &v.Reason, &hash, &v.Maker, &v.MadeAt, &v.ExpiresAt, &v.State,
		&v.hasExpired, &v.Checker, &checked, &v.Method, &v.checkKey, &v.checkSignature, &v.Note,
		&v.UsedBy, &used, &finished, &v.Outcome, &v.Result,
		&v.Service, &v.Endorser, &endorsed, &v.endorseMethod, &v.endorseKey, &v.endorseSign)
	if err != nil {
		return v, err
	}
	if v.Parameters, err = parseParameters(v.parameters); err != nil {
		return v, fault.New(fault.ApprovalChanged, "what is stored is not what was proposed").WithResource(v.ID.String()).WithCause(err)
	}
	copy(v.Hash[:], hash)
	v.MadeAt, v.ExpiresAt = v.MadeAt.UTC(), v.ExpiresAt.UTC()
	for to, from := range map[*time.Time]*time.Time{&v.CheckedAt: checked, &v.UsedAt: used, &v.FinishedAt: finished, &v.EndorsedAt: endorsed} {
		if from != nil {
			*to = from.UTC()
		}
	}
	if v.hasExpired && (v.State == Proposed || v.State == Approved) {
		v.State = Expired // its row follows within seconds
	}
	if k := a.kinds[v.Kind]; k != nil {
		v.Words = k.Describe(&v.Action)
	}
	return v, nil
}

// One returns the tenant's approval.
func (a *Approvals) One(ctx context.Context, tenant int32, id ApprovalID) (Approval, error) {
	rows, err := a.pool.Query(ctx, `select `+approvalColumns+` from approvals a where a.id = $1 and a.tenant = $2`, id, tenant)
	if err != nil {
		return Approval{}, dbFault("access.One", err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, a.scan)
	return v, faultOf("access.One", err)
}

// ApprovalsMax bounds one page of List.
const ApprovalsMax = 100

// About says which approvals are wanted: those that name the payment, or the difference
// as the one that they close or are linked to. Empty ones take all.
type About struct {
	Payment string
	Break   int64
}

// members are the parameters that name it, as they stand in the canonical text, where
// texts have their quotes escaped.
func (b About) members() []string {
	out := []string{}
	add := func(name, value string) {
		out = append(out, string(appendText(append(appendText(nil, name), ':'), value)))
	}
	if b.Payment != "" {
		add("payment", b.Payment)
	}
	if b.Break != 0 {
		n := strconv.FormatInt(b.Break, 10)
		add("break", n)
		add("link", "break "+n)
	}
	return out
}

// List returns the tenant's approvals, newest first, older than the one named by
// after (the zero id begins with the newest); state "" means all. more tells whether
// there are older ones.
func (a *Approvals) List(ctx context.Context, tenant int32, state State, about About, after ApprovalID, limit int) (list []Approval, more bool, err error) {
	limit = min(limit, ApprovalsMax)
	rows, err := a.pool.Query(ctx, `select `+approvalColumns+` from approvals a where a.tenant = $1
		and ($2 = '' or case when a.state in ('proposed', 'approved') and a.expires_at <= clock_timestamp() then 'expired' else a.state end = $2)
		and ($3::uuid = '00000000-0000-0000-0000-000000000000' or a.seq < (select seq from approvals where id = $3 and tenant = $1))
		and ($5::text[] = '{}' or exists(select from unnest($5::text[]) m where strpos(a.parameters, m) > 0))
		order by a.seq desc limit $4`, tenant, string(state), after, limit+1, about.members())
	if err != nil {
		return nil, false, dbFault("access.List", err)
	}
	list, err = pgx.CollectRows(rows, a.scan)
	if err != nil {
		return nil, false, faultOf("access.List", err)
	}
	return list[:min(limit, len(list))], len(list) > limit, nil
}

// HashText is a hash as the API writes it.
func HashText(h [sha256.Size]byte) string { return hex.EncodeToString(h[:]) }

// ParseHash reads what HashText wrote.
func ParseHash(s string) (h [sha256.Size]byte, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(h) || hex.EncodeToString(raw) != s {
		return h, fault.New(fault.MalformedRequest, "a hash has 64 hexadecimal digits, in small letters").WithParam("/hash")
	}
	return [sha256.Size]byte(raw), nil
}
