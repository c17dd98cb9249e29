package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
)

// PasskeyRecord is a passkey as it is kept: nothing in it is secret.
type PasskeyRecord struct {
	ID []byte `json:"id"`
	// PublicKey is in COSE form, as the authenticator gave it.
	PublicKey []byte `json:"public_key"`
	// SignCount is what the authenticator counted last; always 0 for those that do not.
	SignCount      uint32 `json:"sign_count"`
	BackupEligible bool   `json:"backup_eligible"`
	// Origin is the address of the console that it is good for.
	Origin string    `json:"origin"`
	Label  string    `json:"label"`
	MadeAt time.Time `json:"made_at"`
	// UsedAt is the zero time before the first use.
	UsedAt time.Time `json:"used_at,omitzero"`
}

// holder is a person as an authenticator knows them.
type holder struct {
	name   string
	role   Role
	handle []byte
	keys   []PasskeyRecord
}

// WebAuthnID and the following make the holder a webauthn.User.
func (h *holder) WebAuthnID() []byte          { return h.handle }
func (h *holder) WebAuthnName() string        { return h.name }
func (h *holder) WebAuthnDisplayName() string { return h.name }
func (h *holder) WebAuthnCredentials() []webauthn.Credential {
	out := make([]webauthn.Credential, len(h.keys))
	for i := range h.keys {
		k := &h.keys[i]
		out[i] = webauthn.Credential{
			ID: k.ID, PublicKey: k.PublicKey, Flags: webauthn.CredentialFlags{UserPresent: true, UserVerified: true, BackupEligible: k.BackupEligible},
			Authenticator: webauthn.Authenticator{SignCount: k.SignCount},
		}
	}
	return out
}

// Ceremony is what an authenticator was asked, and what its answer is held against. It
// counts once: whoever keeps it takes it away before the answer is looked at.
type Ceremony struct {
	// Options go to the browser, which parses them as WebAuthn Level 3 §5.1 has it.
	Options json.RawMessage
	session webauthn.SessionData
}

// Passkeys makes and checks passkeys for one address of the console.
type Passkeys struct {
	lib    *webauthn.WebAuthn
	origin string
}

// ceremonyFor is how long an authenticator may take to answer.
const ceremonyFor = 5 * time.Minute

// NewPasskeys is for the console at this address. A passkey belongs to a name: an IP
// address is refused, and so is plain http anywhere but on localhost.
func NewPasskeys(console string) (*Passkeys, error) {
	u, err := url.Parse(console)
	if err != nil || u.Host == "" || (u.Path != "" && u.Path != "/") {
		return nil, fmt.Errorf("the console's address %q is not one like https://moneta.example", console)
	}
	host := u.Hostname()
	if net.ParseIP(host) != nil {
		return nil, fmt.Errorf("a passkey belongs to a name, and %s is an address: use localhost, or the console's name", host)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || host != "localhost") {
		return nil, fmt.Errorf("browsers make passkeys over https, and over http on localhost only: %s is neither", console)
	}
	origin := u.Scheme + "://" + strings.ToLower(u.Host)
	wait := webauthn.TimeoutConfig{Enforce: true, Timeout: ceremonyFor, TimeoutUVD: ceremonyFor}
	lib, err := webauthn.New(&webauthn.Config{
		RPID: strings.ToLower(host), RPDisplayName: issuer, RPOrigins: []string{origin}, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: protocol.ResidentKeyRequired(), ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: wait, Registration: wait},
	})
	return &Passkeys{lib: lib, origin: origin}, err
}

// Origin is the address that its passkeys are good for.
func (p *Passkeys) Origin() string { return p.origin }

// ask begins a sign-in by whichever passkey the person picks.
func (p *Passkeys) ask() (Ceremony, error) {
	options, session, err := p.lib.BeginDiscoverableLogin()
	if err != nil {
		return Ceremony{}, fault.New(fault.Internal, "").WithOp("access.ask").WithCause(err)
	}
	return ceremony(options.Response, session)
}

func ceremony(options any, session *webauthn.SessionData) (Ceremony, error) {
	raw, err := json.Marshal(options)
	if err != nil {
		return Ceremony{}, fault.New(fault.Internal, "").WithOp("access.ceremony").WithCause(err)
	}
	return Ceremony{Options: raw, session: *session}, nil
}

var errPasskey = fault.New(fault.Unauthenticated, "the passkey was not accepted")

// answered checks the authenticator's answer and returns whose it is, and the passkey
// as it counts now. Who it is, find says by the passkey's id and the person's handle.
func (p *Passkeys) answered(c *Ceremony, answer []byte, find func(id, handle []byte) (*holder, error)) (*holder, PasskeyRecord, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, PasskeyRecord{}, fault.New(fault.MalformedRequest, "this is not the answer of an authenticator").WithCause(err)
	}
	var found *holder
	var failed error
	_, credential, err := p.lib.ValidatePasskeyLogin(func(id, handle []byte) (webauthn.User, error) {
		if found, failed = find(id, handle); failed != nil {
			return nil, failed
		}
		return found, nil
	}, c.session, parsed)
	if failed != nil {
		return nil, PasskeyRecord{}, failed
	}
	if err != nil {
		return nil, PasskeyRecord{}, errPasskey.WithCause(err)
	}
	for _, k := range found.keys {
		if bytes.Equal(k.ID, credential.ID) {
			count := parsed.Response.AuthenticatorData.Counter
			if err := counted(k.SignCount, count); err != nil {
				return nil, k, err
			}
			k.SignCount = count
			return found, k, nil
		}
	}
	return nil, PasskeyRecord{}, errPasskey
}

// counted refuses an authenticator that counts back (WebAuthn Level 3 §6.1.1): there are
// two of it. One that never counts says 0 for ever.
func counted(before, now uint32) error {
	if now > before || (now == 0 && before == 0) {
		return nil
	}
	return fault.New(fault.Unauthenticated, "this passkey was used elsewhere since: it may be a copy. Remove it, and make a new one")
}

// offer begins the making of a passkey.
func (p *Passkeys) offer(h *holder) (Ceremony, error) {
	var have []protocol.CredentialDescriptor
	for _, c := range h.WebAuthnCredentials() {
		have = append(have, c.Descriptor())
	}
	options, session, err := p.lib.BeginRegistration(h, webauthn.WithExclusions(have))
	if err != nil {
		return Ceremony{}, fault.New(fault.Internal, "").WithOp("access.offer").WithCause(err)
	}
	return ceremony(options.Response, session)
}

const labelMax = 100 // bytes

// made checks what the authenticator made.
func (p *Passkeys) made(c *Ceremony, h *holder, answer []byte, label string) (PasskeyRecord, error) {
	if label == "" || len(label) > labelMax || !readable(label) {
		return PasskeyRecord{}, fault.New(fault.MalformedRequest, "give the passkey a name of 1 to 100 bytes, to tell it from others").WithParam("/label")
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return PasskeyRecord{}, fault.New(fault.MalformedRequest, "this is not the answer of an authenticator").WithCause(err)
	}
	credential, err := p.lib.CreateCredential(h, c.session, parsed)
	if err != nil {
		return PasskeyRecord{}, errPasskey.WithCause(err)
	}
	return PasskeyRecord{
		ID: credential.ID, PublicKey: credential.PublicKey, SignCount: credential.Authenticator.SignCount,
		BackupEligible: credential.Flags.BackupEligible, Origin: p.origin, Label: label,
	}, nil
}

// In the database.

const passkeyColumns = `id, public_key, sign_count, backup_eligible, origin, label, made_at, used_at` //nolint:gosec // names of columns

func scanPasskey(row pgx.CollectableRow) (PasskeyRecord, error) {
	var k PasskeyRecord
	var used *time.Time
	err := row.Scan(&k.ID, &k.PublicKey, &k.SignCount, &k.BackupEligible, &k.Origin, &k.Label, &k.MadeAt, &used)
	k.MadeAt = k.MadeAt.UTC()
	if used != nil {
		k.UsedAt = used.UTC()
	}
	return k, err
}

// holder reads a person by their handle, with the passkeys of one address.
func (s *Store) holder(ctx context.Context, by string, key any, origin string) (*holder, error) {
	h := &holder{}
	err := s.pool.QueryRow(ctx, `select name, role, uuid_send(handle) from operators where `+by+` = $1 and disabled_at is null`, key).Scan(&h.name, &h.role, &h.handle)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errPasskey
	}
	if err != nil {
		return nil, faultOf("access.holder", err)
	}
	rows, err := s.pool.Query(ctx, `select `+passkeyColumns+` from operator_passkeys where operator = $1 and origin = $2 and removed_at is null limit $3`, h.name, origin, passkeysMax)
	if err == nil {
		h.keys, err = pgx.CollectRows(rows, scanPasskey)
	}
	return h, faultOf("access.holder", err)
}

// passkeysMax bounds those of one person.
const passkeysMax = 20

// usedPasskey writes down what the authenticator counts now. Of two answers with one
// count, one is refused.
func (s *Store) usedPasskey(ctx context.Context, k *PasskeyRecord) error {
	tag, err := s.pool.Exec(ctx, `update operator_passkeys set sign_count = $2, used_at = now() where id = $1 and removed_at is null
		and (sign_count < $2 or ($2 = 0 and sign_count = 0))`, k.ID, int64(k.SignCount))
	if err == nil && tag.RowsAffected() != 1 {
		return errPasskey
	}
	return faultOf("access.usedPasskey", err)
}

const insertPasskey = `insert into operator_passkeys (id, operator, public_key, sign_count, backup_eligible, origin, label)
	select $1, name, $3, $4, $5, $6, $7 from operators where name = $2 and disabled_at is null
	and (select count(*) from operator_passkeys k where k.operator = $2 and k.removed_at is null) < $8`

func addPasskey(ctx context.Context, db execer, operator string, k *PasskeyRecord) error {
	tag, err := db.Exec(ctx, insertPasskey, k.ID, operator, k.PublicKey, int64(k.SignCount), k.BackupEligible, k.Origin, k.Label, passkeysMax)
	if err == nil && tag.RowsAffected() != 1 {
		return fault.New(fault.MalformedRequest, fmt.Sprintf("one person has %d passkeys at most; remove one first", passkeysMax))
	}
	return faultOf("access.addPasskey", err)
}

// PasskeysOf lists those of one operator of the tenant, the newest first.
func (s *Store) PasskeysOf(ctx context.Context, tenant int32, name string) ([]PasskeyRecord, error) {
	var known bool
	if err := s.pool.QueryRow(ctx, `select exists (select from operators where tenant = $1 and name = $2)`, tenant, name).Scan(&known); err != nil {
		return nil, faultOf("access.PasskeysOf", err)
	}
	if !known {
		return nil, fault.New(fault.NotFound, "")
	}
	rows, err := s.pool.Query(ctx, `select `+passkeyColumns+` from operator_passkeys where operator = $1 and removed_at is null order by made_at desc, id limit $2`, name, passkeysMax)
	if err != nil {
		return nil, dbFault("access.PasskeysOf", err)
	}
	list, err := pgx.CollectRows(rows, scanPasskey)
	return list, faultOf("access.PasskeysOf", err)
}

// RemovePasskey takes one away: one's own, or as an admin anybody's of the tenant. It
// signs nobody in from then on; sessions that it opened go on until they end or are ended.
func (s *Store) RemovePasskey(ctx context.Context, who *Principal, name string, id []byte) error {
	if name != who.Operator && !who.Role.Covers(Chief) {
		return fault.New(fault.Forbidden, "an admin removes the passkeys of others")
	}
	tag, err := s.pool.Exec(ctx, `update operator_passkeys k set removed_at = now() from operators o
		where k.id = $1 and k.operator = $2 and k.removed_at is null and o.name = k.operator and o.tenant = $3`, id, name, who.Tenant)
	if err == nil && tag.RowsAffected() != 1 {
		return fault.New(fault.NotFound, "this person has no such passkey")
	}
	return faultOf("access.RemovePasskey", err)
}

// PasskeyText is a passkey's id as texts have it, ParsePasskey the other way round.
func PasskeyText(id []byte) string { return b64.EncodeToString(id) }

// ParsePasskey reads what PasskeyText wrote.
func ParsePasskey(text string) ([]byte, error) {
	id, err := b64.DecodeString(text)
	if err != nil || len(id) == 0 {
		return nil, fault.New(fault.NotFound, "")
	}
	return id, nil
}

// Approving with a passkey.

// PasskeyChallenge is what a person's authenticator signs to say yes to exactly this
// text: its SHA-256. It needs no number of ours: what it says yes to can happen once.
func PasskeyChallenge(text []byte) []byte { sum := sha256.Sum256(text); return sum[:] }

// passkeyProof is the authenticator's word as an approval keeps it.
type passkeyProof struct {
	Origin string          `json:"origin"`
	Answer json.RawMessage `json:"answer"`
}

// verifyPasskey reports whether the key's owner, present and verified, said yes to the
// text at the console's address, and by which passkey and count.
func verifyPasskey(key []byte, proof *passkeyProof, text []byte) (id []byte, count uint32, err error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(proof.Answer)
	if err != nil {
		return nil, 0, fault.New(fault.SignatureInvalid, "this is not the answer of an authenticator").WithCause(err).WithParam("/assertion")
	}
	if key == nil { // who it is by comes first
		return parsed.RawID, 0, nil
	}
	u, err := url.Parse(proof.Origin)
	if err != nil {
		return nil, 0, fault.New(fault.SignatureInvalid, "").WithCause(err)
	}
	err = parsed.Verify(b64.EncodeToString(PasskeyChallenge(text)), u.Hostname(), "", []string{proof.Origin}, nil, nil,
		protocol.TopOriginExplicitVerificationMode, false, true, true, key, protocol.SignaturePolicy{})
	if err != nil {
		return nil, 0, fault.New(fault.SignatureInvalid, "the passkey's answer does not fit this action").WithCause(err).WithParam("/assertion")
	}
	return parsed.RawID, parsed.Response.AuthenticatorData.Counter, nil
}

// ConfirmPasskey checks that the person said yes to the text with one of their own
// passkeys, just now, and returns the public key and the proof to keep.
func (s *Store) ConfirmPasskey(ctx context.Context, who *Principal, assertion string, text []byte) (key, proof []byte, err error) {
	p := passkeyProof{Answer: json.RawMessage(assertion)}
	id, _, err := verifyPasskey(nil, &p, nil)
	if err != nil {
		return nil, nil, err
	}
	rows, err := s.pool.Query(ctx, `select `+passkeyColumns+` from operator_passkeys where id = $1 and operator = $2 and removed_at is null`, id, who.Operator)
	if err != nil {
		return nil, nil, dbFault("access.ConfirmPasskey", err)
	}
	k, err := pgx.CollectExactlyOneRow(rows, scanPasskey)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, fault.New(fault.SignatureInvalid, "this is none of your passkeys").WithParam("/assertion")
	}
	if err != nil {
		return nil, nil, faultOf("access.ConfirmPasskey", err)
	}
	p.Origin = k.Origin
	_, count, err := verifyPasskey(k.PublicKey, &p, text)
	if err != nil {
		return nil, nil, err
	}
	if err := counted(k.SignCount, count); err != nil {
		return nil, nil, err
	}
	k.SignCount = count
	if err := s.usedPasskey(ctx, &k); err != nil {
		return nil, nil, err
	}
	raw, err := json.Marshal(&p)
	return k.PublicKey, raw, err
}
