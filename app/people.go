package app

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/doctor/runbook"
)

// people are those who may approve acts of the doctor: the installation's approvers
// and admins, by the keys that they sign with. They are read from the database, and
// kept in a file for when it is the patient.
type people struct {
	dsn  string
	file string
	// session vouches for who signed in at the console: a key of this machine's watch,
	// made with its first approval. Without one nobody is vouched for.
	session string

	mu     sync.Mutex
	known  []access.Signer
	readAt time.Time
}

const (
	// peopleFresh is how old a list from the database may be when somebody approves,
	// peopleKept how old the file may be while the database does not answer: who was
	// disabled since is found out only then.
	peopleFresh = 5 * time.Second
	peopleKept  = 24 * time.Hour
	peopleAsk   = 2 * time.Second
	// localPerson is who has the token of the watch, as long as there are no two people who
	// may approve: one person, whoever it is.
	localPerson = "local"
)

// keptPeople is the file.
type keptPeople struct {
	ReadAt  time.Time       `json:"read_at"`
	Signers []access.Signer `json:"signers"`
}

// signers are those of now, or of the file while the database does not answer.
func (p *people) signers(ctx context.Context) ([]access.Signer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.readAt) < peopleFresh {
		return p.known, nil
	}
	list, err := p.ask(ctx)
	if err == nil {
		p.known, p.readAt = list, time.Now()
		raw, err := json.Marshal(keptPeople{p.readAt.UTC(), list})
		if err != nil {
			return nil, err
		}
		return list, writeFile(p.file, raw, 0o600)
	}
	raw, fileErr := os.ReadFile(p.file)
	var kept keptPeople
	if fileErr == nil {
		fileErr = json.Unmarshal(raw, &kept)
	}
	if fileErr == nil && time.Since(kept.ReadAt) > peopleKept {
		fileErr = fmt.Errorf("what is known of them is from %s", kept.ReadAt.Format(time.RFC3339))
	}
	if fileErr != nil {
		return nil, fmt.Errorf("who may approve cannot be told: %w", errors.Join(err, fileErr))
	}
	return kept.Signers, nil
}

func (p *people) ask(ctx context.Context) ([]access.Signer, error) {
	ctx, cancel := context.WithTimeout(ctx, peopleAsk)
	defer cancel()
	cfg, err := pgxpool.ParseConfig(p.dsn)
	if err != nil {
		return nil, err
	}
	if err := newestOf(ctx, &cfg.ConnConfig.Config); err != nil {
		return nil, err
	}
	cfg.MaxConns, cfg.ConnConfig.ConnectTimeout = 1, peopleAsk
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	return access.NewStore(pool).Signers(ctx)
}

// person says who gave an approval. A signature is looked at each time, also when the
// approval counts: who lost his role meanwhile has approved nothing.
func (p *people) person(ctx context.Context, a runbook.Approval) (string, error) {
	list, err := p.signers(ctx)
	if err != nil {
		return "", err
	}
	if a.Proof != "" {
		return p.vouched(list, &a)
	}
	if a.Key == "" {
		if len(list) < 2 {
			return localPerson, nil
		}
		return "", errors.New("there are people who may approve here: sign it, with --as FILE")
	}
	for _, s := range list {
		if s.Key != a.Key {
			continue
		}
		if !access.VerifyText(a.Key, a.Signature, a.Sentence()) {
			return "", errors.New("the signature does not fit this act")
		}
		return s.Name, nil
	}
	return "", errors.New("the key is nobody's who may approve here")
}

// vouch proves that who is signed in said this: it holds as long as the person may
// approve, and for these words alone.
func (p *people) vouch(a *runbook.Approval) (string, error) {
	key, err := p.sessionKey()
	if err != nil {
		return "", err
	}
	m := hmac.New(sha256.New, key)
	m.Write(append(a.Sentence(), a.Person...)) // never fails; see hash.Hash
	return hex.EncodeToString(m.Sum(nil)), nil
}

func (p *people) vouched(list []access.Signer, a *runbook.Approval) (string, error) {
	want, err := p.vouch(a)
	if err != nil {
		return "", err
	}
	if !hmac.Equal([]byte(want), []byte(a.Proof)) {
		return "", errors.New("the console did not see this person say so")
	}
	for _, s := range list {
		if s.Name == a.Person {
			return s.Name, nil
		}
	}
	return "", fmt.Errorf("%s is nobody who may approve here: it takes an approver or an admin of the installation", a.Person)
}

// sessionKey is read, or made once.
func (p *people) sessionKey() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == "" {
		return nil, errors.New("no console vouches for anybody here")
	}
	raw, err := os.ReadFile(p.session)
	if errors.Is(err, os.ErrNotExist) {
		raw = make([]byte, 32)
		_, _ = rand.Read(raw) // never fails; see its documentation
		err = writeFile(p.session, raw, 0o600)
	}
	if err == nil && len(raw) != 32 {
		err = fmt.Errorf("%s is no key: remove it, and what was approved with it is asked for again", p.session)
	}
	return raw, err
}
