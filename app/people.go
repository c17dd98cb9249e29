package app

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
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
	// dataDir has the secret under which the console vouches for approvals.
	dataDir string

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
	if a.Key == "" {
		if len(list) < 2 {
			return localPerson, nil
		}
		return "", errors.New("there are people who may approve here: sign it, with --as FILE")
	}
	if a.Key == attestedKey {
		return p.attested(list, &a)
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

// attested says who gave an approval in the console, which saw their code or passkey.
func (p *people) attested(list []access.Signer, a *runbook.Approval) (string, error) {
	secret, err := consoleSecret(p.dataDir)
	if err != nil {
		return "", err
	}
	if !hmac.Equal([]byte(attest(secret, a.Person, a.Sentence())), []byte(a.Signature)) {
		return "", errors.New("the console does not vouch for this")
	}
	if !slices.ContainsFunc(list, func(s access.Signer) bool { return s.Name == a.Person }) {
		return "", fmt.Errorf("%s may not approve here", a.Person)
	}
	return a.Person, nil
}
