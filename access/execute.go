package access

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
)

// Carrying out, and where it can break off.
//
// An approval is used up by one compare-and-set, approved → used, and the database
// lets that happen once. What follows depends on the kind.
//
// Apply: the action's rows change in the same transaction. A crash leaves both or
// neither.
//
// Perform: the action is a Fact for the decider, which commits by itself. The
// approval's id is the Fact's idempotency key, so:
//
//	crash before the compare-and-set     approved still; nothing happened
//	after it, before the Fact commits    used without an outcome; called again
//	after the Fact, before the outcome   the same; the decider answers the key again
//	after the outcome                    nothing is left to do
//
// What is refused for now, by a lever, has not happened and must not happen later by
// itself: it is approved again, for people to carry out or to withdraw, and refused for
// good once its time is over. A crash before that leaves it used without an outcome; who
// calls it again is refused by the same lever, and puts it back.
//
// Whoever uses an approval up holds it for heldFor. Run, on every node, calls again
// what nobody holds and nobody finished: nothing is lost because a node died. That is
// longer than performLimit and the half minute that a batch of the decider may be on its
// way to the disk together: who calls again sees in the ledger what became of the call
// before, and refuses nothing that is about to be written.
const (
	heldFor      = 50 * time.Second
	performLimit = 10 * time.Second // below heldFor: who holds it is done or gives up first
	tidyEvery    = 2 * time.Second
	resumeMax    = 20 // at a time
)

// Execute carries out an approved action, once, and returns what became of it.
// hash is that of the action as the caller saw it. fault.ApprovalClosed says that
// it is not approved, expired, or used; fault.ApprovalChanged that it is not what
// was approved. An Outcome of Refused is final and no error. Any other error says
// by its money state whether something may still happen; Run sees to it.
func (a *Approvals) Execute(ctx context.Context, who *Principal, id ApprovalID, hash [sha256.Size]byte) (Approval, error) {
	if err := person(who, Operate); err != nil {
		return Approval{}, err
	}
	v, err := a.One(ctx, who.Tenant, id)
	if err != nil {
		return Approval{}, err
	}
	if v.Hash != hash {
		return Approval{}, changed(id)
	}
	kind, err := a.fit(ctx, &v)
	if err != nil {
		return Approval{}, err
	}
	if v.State != Approved {
		return v, closed(&v)
	}
	if kind.Apply != nil {
		err = a.apply(ctx, who.Operator, kind, &v)
	} else {
		err = a.usePerform(ctx, who.Operator, kind, &v)
	}
	if errors.Is(err, errTaken) {
		now, err := a.One(ctx, who.Tenant, id)
		if err != nil {
			return Approval{}, err
		}
		return now, closed(&now)
	}
	if err != nil {
		return Approval{}, faultOf("access.Execute", err)
	}
	return a.One(ctx, who.Tenant, id)
}

// errTaken says that somebody else used it, or time did, since it was read.
var errTaken = errors.New("the approval is not to be had any more")

// doubt says of an error that the action may have been carried out, or may still be.
func doubt(id ApprovalID, err error) error {
	return fault.New(fault.CommitUnknown, "what was approved may have been carried out, or will be; the approval tells in some seconds").
		WithOp("access.Execute").WithResource(id.String()).WithCause(err)
}

// fit makes sure, right before the act, that the action is byte for byte the one
// that was approved, and that its checker has signed it.
func (a *Approvals) fit(ctx context.Context, v *Approval) (*Kind, error) {
	kind := a.kinds[v.Kind]
	if kind == nil {
		return nil, fault.New(fault.NotFound, "this node does not know actions of the kind "+v.Kind)
	}
	if err := a.intact(v); err != nil {
		return nil, err
	}
	if err := kind.check(v.Parameters); err != nil {
		return nil, err
	}
	if v.State != Approved && v.State != Used {
		return kind, nil
	}
	if !v.signed() || v.Service && !v.endorsed() {
		return nil, fault.New(fault.ApprovalChanged, "the checker's signature does not fit the action").WithResource(v.ID.String())
	}
	if v.State == Approved && kind.Check != nil {
		return kind, kind.Check(ctx, &v.Action)
	}
	return kind, nil
}

// signed reports whether the checker's proof still fits the action, endorsed whether that
// of the first of the two does who agree with a service. A code leaves none.
func (v *Approval) signed() bool { return v.proves(v.Method, v.checkKey, v.checkSignature) }

func (v *Approval) endorsed() bool {
	return v.Endorser != "" && v.Endorser != v.Checker && v.proves(v.endorseMethod, v.endorseKey, v.endorseSign)
}

func (v *Approval) proves(method Method, key, signature []byte) bool {
	statement := CheckStatement(v.ID, v.Hash)
	switch method {
	case Ed25519:
		return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, statement, signature)
	case Passkey:
		var proof passkeyProof
		if len(key) == 0 || json.Unmarshal(signature, &proof) != nil {
			return false
		}
		_, _, err := verifyPasskey(key, &proof, statement)
		return err == nil
	case TOTP:
		return true
	case Invited, None:
	}
	return false
}

// use takes the approval: exactly one of all who try gets it.
func (a *Approvals) use(ctx context.Context, db execer, by string, v *Approval) error {
	tag, err := db.Exec(ctx, `update approvals set state = 'used', used_by = $2, used_at = clock_timestamp(), held_until = clock_timestamp() + $4::interval
		where id = $1 and state = 'approved' and hash = $3 and expires_at > clock_timestamp()`, v.ID, by, v.Hash[:], heldFor)
	if err != nil {
		return faultOf("access.use", err)
	}
	if tag.RowsAffected() != 1 {
		return errTaken
	}
	return nil
}

// apply uses the approval and changes our own rows in one transaction. A refusal
// undoes the change and is kept as the outcome.
func (a *Approvals) apply(ctx context.Context, by string, kind *Kind, v *Approval) error {
	ctx, cancel := context.WithTimeout(ctx, performLimit)
	defer cancel()
	err := pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := a.use(ctx, tx, by, v); err != nil {
			return err
		}
		var result string
		err := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) (err error) {
			result, err = kind.Apply(ctx, inner, &v.Action)
			return err
		})
		if err = faultOf("access.apply", err); err != nil && !final(err) {
			return err
		}
		return a.finish(ctx, tx, v.ID, result, err)
	})
	a.store.forgetPeople()
	a.store.cache.forgetAll()
	var said *fault.Error
	if err != nil && !errors.As(err, &said) && !errors.Is(err, errTaken) {
		return doubt(v.ID, err) // the COMMIT's reply may be what was lost
	}
	return err
}

// usePerform is over before anybody else may take the approval up, however long its parts
// take.
func (a *Approvals) usePerform(ctx context.Context, by string, kind *Kind, v *Approval) error {
	ctx, cancel := context.WithTimeout(ctx, performLimit)
	defer cancel()
	if err := a.use(ctx, a.pool, by, v); err != nil {
		return err
	}
	return a.perform(ctx, kind, v, notMoved)
}

// perform acts through the decider and keeps the outcome. unmoved reports whether an
// error that is not the last word says that nothing has happened, nor will.
func (a *Approvals) perform(ctx context.Context, kind *Kind, v *Approval, unmoved func(error) bool) error {
	ctx, cancel := context.WithTimeout(ctx, performLimit)
	defer cancel()
	result, err := kind.Perform(ctx, &v.Action, v.ID)
	if err != nil {
		// What an error promises is held against the ledger: what it has, has happened.
		if carried, look := a.Carried(ctx, v.ID); look != nil || carried {
			return doubt(v.ID, errors.Join(err, look))
		}
	}
	if err != nil && !final(err) {
		if !unmoved(err) {
			return doubt(v.ID, err)
		}
		if a.putBack(ctx, v.ID) {
			return err
		}
	}
	if err := a.finish(ctx, a.pool, v.ID, result, err); err != nil {
		return doubt(v.ID, err)
	}
	return nil
}

// Carried reports whether the ledger has what the approval of this id stands for, whatever
// became of the approval itself.
func (a *Approvals) Carried(ctx context.Context, id ApprovalID) (yes bool, err error) {
	if err = a.pool.QueryRow(ctx, `select carried_out($1)`, id).Scan(&yes); err != nil {
		return false, dbFault("access.Carried", err)
	}
	return yes, nil
}

// putBack makes a used approval of which nothing came an approved one again. It does not
// when its time is over, or when the guard finds one of its two people gone: then the
// refusal is its outcome.
func (a *Approvals) putBack(ctx context.Context, id ApprovalID) bool {
	tag, err := a.pool.Exec(ctx, `update approvals set state = 'approved', used_by = null, used_at = null, held_until = null
		where id = $1 and state = 'used' and finished_at is null and expires_at > clock_timestamp()`, id)
	return err == nil && tag.RowsAffected() == 1
}

// notMoved is the first caller's unmoved: nobody has tried before.
func notMoved(err error) bool { return fault.MoneyStateOf(err) == fault.NotMoved }

// refusedForNow is that of who calls again. An earlier call may have reached the decider, so
// only a refusal counts that has looked whether the key is known, as a lever's does: not
// that of a node which cannot reach anybody.
func refusedForNow(err error) bool { return notMoved(err) && fault.RetryOf(err) == fault.After }

// final reports whether the error is the last word: nothing happened, and the same
// again would be refused again.
func final(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && fault.MoneyStateOf(f) == fault.NotMoved && fault.RetryOf(f) == fault.Never
}

const resultMax = 500 // bytes

func (a *Approvals) finish(ctx context.Context, db execer, id ApprovalID, result string, refusal error) error {
	outcome := Done
	if refusal != nil {
		f := fault.From(refusal)
		outcome, result = Refused, string(f.Code)
		if f.Detail != "" {
			result += ": " + f.Detail
		}
	}
	if len(result) > resultMax {
		result = result[:resultMax]
	}
	_, err := db.Exec(ctx, `update approvals set finished_at = clock_timestamp(), outcome = $2, result = $3, held_until = null
		where id = $1 and state = 'used' and finished_at is null`, id, outcome, result)
	return err
}

// Run finishes what a node that died has begun, and lets proposals expire, until
// ctx ends. Every node runs it.
func (a *Approvals) Run(ctx context.Context) error {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := a.Tidy(ctx); err != nil && ctx.Err() == nil {
				a.log.LogAttrs(ctx, slog.LevelWarn, "approvals could not be looked after", slog.Any("error", err))
			}
		}
	}
}

// Tidy does one round of what Run repeats.
func (a *Approvals) Tidy(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, performLimit)
	defer cancel()
	var wrong []error
	for _, sql := range []string{
		`update approvals set state = 'expired' where state in ('proposed', 'approved') and expires_at <= clock_timestamp()`,
		`delete from operator_nonces where at < now() - interval '10 minutes'`, // longer than any node accepts a signature's time
	} {
		if _, err := a.pool.Exec(bounded, sql); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(append(wrong, a.resume(ctx), a.count(ctx))...)
}

// count keeps for Measure what is left after the round.
func (a *Approvals) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, performLimit)
	defer cancel()
	var waiting, unfinished int64
	err := a.pool.QueryRow(ctx, `select (select count(*) from approvals where state = 'proposed'), (select count(*) from approvals
		where used_at is not null and finished_at is null and used_at < clock_timestamp() - $1::interval)`, 2*heldFor).Scan(&waiting, &unfinished)
	if err != nil {
		return err
	}
	a.waiting.Store(waiting)
	a.unfinished.Store(unfinished)
	return nil
}

// resume takes over what was used, not finished, and is held by nobody.
func (a *Approvals) resume(ctx context.Context) error {
	rows, err := a.pool.Query(ctx, `update approvals a set held_until = clock_timestamp() + $1::interval
		where a.id in (select id from approvals where used_at is not null and finished_at is null and held_until <= clock_timestamp()
			order by used_at limit $2 for update skip locked) returning `+approvalColumns, heldFor, resumeMax)
	if err != nil {
		return err
	}
	left, err := pgx.CollectRows(rows, a.scan)
	if err != nil {
		return err
	}
	begin, cancel := context.WithTimeout(ctx, heldFor-performLimit) // what is begun later may outlast the hold
	defer cancel()
	var wrong []error
	for i := range left {
		if begin.Err() != nil {
			break
		}
		v := &left[i]
		kind, err := a.fit(ctx, v)
		if err == nil && kind.Perform != nil {
			err = a.perform(ctx, kind, v, refusedForNow)
		}
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		a.log.LogAttrs(ctx, slog.LevelWarn, "finished an approval that was left in the middle", slog.String("approval", v.ID.String()), slog.String("kind", v.Kind))
	}
	return errors.Join(wrong...)
}
