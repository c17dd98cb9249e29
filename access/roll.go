package access

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
)

// Roll is what is known of the people at a moment: enough to sign them in to the doctor
// while the database does not answer, and nothing that signs anybody in by itself. It
// has public keys, hashes of passes with 160 random bits, and secrets of codes sealed
// under those passes.
type Roll struct {
	ReadAt time.Time `json:"read_at"`
	// FourEyes says that the installation has had two people who may approve.
	FourEyes bool         `json:"four_eyes"`
	People   []RollPerson `json:"people"`
}

// RollPerson is one of them, active at the time.
type RollPerson struct {
	Name         string          `json:"name"`
	Tenant       int32           `json:"tenant"`
	Installation bool            `json:"installation"`
	Role         Role            `json:"role"`
	Handle       []byte          `json:"handle"`
	PublicKey    []byte          `json:"public_key,omitempty"`
	PassPrefix   string          `json:"pass_prefix,omitempty"`
	PassHash     []byte          `json:"pass_hash,omitempty"`
	Sealed       []byte          `json:"totp_sealed,omitempty"`
	Step         int64           `json:"totp_step,omitempty"`
	Passkeys     []PasskeyRecord `json:"passkeys,omitempty"`
}

const (
	// RollFor is how old a roll may be that somebody is signed in by: whoever was disabled
	// since is found out only when the database answers again.
	RollFor = 24 * time.Hour
	rollMax = 1000 // people
)

// Roll reads it.
func (s *Store) Roll(ctx context.Context) (Roll, error) {
	const op = "access.Roll"
	r := Roll{ReadAt: s.now().UTC()}
	var err error
	if r.FourEyes, err = s.FourEyes(ctx, 0); err != nil {
		return r, err
	}
	rows, err := s.pool.Query(ctx, `select o.name, o.tenant, t.installation, o.role, uuid_send(o.handle), o.public_key, coalesce(o.pass_prefix, ''), o.pass_hash, o.totp_sealed, o.totp_step
		from operators o join tenants t on t.id = o.tenant where o.disabled_at is null and o.role <> 'service' order by t.installation desc, o.name limit $1`, rollMax)
	if err != nil {
		return r, faultOf(op, err)
	}
	r.People, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (RollPerson, error) {
		var p RollPerson
		err := row.Scan(&p.Name, &p.Tenant, &p.Installation, &p.Role, &p.Handle, &p.PublicKey, &p.PassPrefix, &p.PassHash, &p.Sealed, &p.Step)
		return p, err
	})
	if err != nil {
		return r, faultOf(op, err)
	}
	rows, err = s.pool.Query(ctx, `select operator, `+passkeyColumns+` from operator_passkeys where removed_at is null limit $1`, rollMax*passkeysMax)
	if err != nil {
		return r, faultOf(op, err)
	}
	keys := map[string][]PasskeyRecord{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var name string
		var k PasskeyRecord
		var used *time.Time
		err := row.Scan(&name, &k.ID, &k.PublicKey, &k.SignCount, &k.BackupEligible, &k.Origin, &k.Label, &k.MadeAt, &used)
		keys[name] = append(keys[name], k)
		return struct{}{}, err
	})
	for i := range r.People {
		r.People[i].Passkeys = keys[r.People[i].Name]
	}
	return r, faultOf(op, err)
}

// write replaces the file at once or not at all; only its owner reads it.
func (r *Roll) write(path string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".roll-") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // nobody reads it
	}
	return err
}

func readRoll(path string) (r Roll, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(raw, &r)
}

// by finds the person for whom yes holds.
func (r *Roll) by(yes func(p *RollPerson) bool) *RollPerson {
	for i := range r.People {
		if yes(&r.People[i]) {
			return &r.People[i]
		}
	}
	return nil
}

func (r *Roll) named(name string) *RollPerson {
	return r.by(func(p *RollPerson) bool { return p.Name == name })
}

func (r *Roll) holder(p *RollPerson, origin string) *holder {
	h := &holder{name: p.Name, role: p.Role, handle: p.Handle}
	for _, k := range p.Passkeys {
		if k.Origin == origin {
			h.keys = append(h.keys, k)
		}
	}
	return h
}

// newer takes over what was used up since the roll was read: a code or a count that was
// used while the database did not answer stays used.
func (r *Roll) newer(old *Roll) {
	for i := range r.People {
		p := &r.People[i]
		before := old.named(p.Name)
		if before == nil {
			continue
		}
		if before.PassPrefix == p.PassPrefix {
			p.Step = max(p.Step, before.Step)
		}
		for j := range p.Passkeys {
			for k := range before.Passkeys {
				if subtle.ConstantTimeCompare(p.Passkeys[j].ID, before.Passkeys[k].ID) == 1 {
					p.Passkeys[j].SignCount = max(p.Passkeys[j].SignCount, before.Passkeys[k].SignCount)
				}
			}
		}
	}
}

// principal is the person as one who has signed in.
func (p *RollPerson) principal(session string, m Method) Principal {
	return Principal{Tenant: p.Tenant, Scopes: scopesOf(p.Installation), Operator: p.Name, Role: p.Role, Method: m, session: session}
}

// passHere checks pass and code without the database. tried says whether one more try
// is to be had.
func (r *Roll) passHere(pass, code string, now time.Time, tried func(name string) error) (*RollPerson, string, error) {
	prefix, ok := splitAs(passHead, pass)
	if !ok {
		return nil, "", fault.New(fault.Unauthenticated, "a pass begins with "+passHead)
	}
	p := r.by(func(p *RollPerson) bool { return p.PassPrefix == prefix })
	var want [32]byte // of nobody: compared too
	if p != nil {
		copy(want[:], p.PassHash)
	}
	sum := digest(pass)
	if subtle.ConstantTimeCompare(want[:], sum[:]) != 1 || p == nil {
		return nil, "", fault.New(fault.Unauthenticated, "")
	}
	if err := tried(p.Name); err != nil {
		return nil, "", err
	}
	secret, err := unseal(pass, prefix, p.Sealed)
	if err != nil {
		return nil, "", err
	}
	step, err := matchCode(secret, code, now, p.Step)
	if err != nil {
		return nil, "", err
	}
	p.Step = step
	return p, secret, nil
}
