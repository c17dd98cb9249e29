package runbook

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Approval is what one person said of one act. It is bound to the act by the hash of
// everything in it and of what it was going to change; it counts once, while the act
// waits, and not again.
type Approval struct {
	Run    string `json:"run"`
	ActID  string `json:"act_id"`
	Hash   string `json:"hash"`
	Agreed bool   `json:"agreed"`
	Reason string `json:"reason"`
	// Person says who it is; Config.Person says whether to believe it, by Key, Signature
	// and Proof, which mean something to it alone.
	Person    string    `json:"person"`
	Key       string    `json:"key,omitempty"`
	Signature string    `json:"signature,omitempty"`
	Proof     string    `json:"proof,omitempty"`
	At        time.Time `json:"at"`
}

const reasonMax = 500

// hash binds an approval: the act as it will be done, and how much it was going to
// concern when it was shown.
func hash(a doctor.Act, c doctor.Change) string {
	a.At, a.Approved = time.Time{}, nil
	raw, err := json.Marshal(struct {
		Act   doctor.Act
		Reach doctor.Reach
		Items int
		Worth map[string]string
		Value string
	}{a, c.Reach, c.Items, c.Worth, c.Value})
	if err != nil {
		return "" // never: these are texts and numbers
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Sentence is what a person signs who signs an approval: lines, each ended by a line
// feed. It is the form of the pay plane's approvals, with a head of its own.
func (a *Approval) Sentence() []byte {
	verdict := "no"
	if a.Agreed {
		verdict = "yes"
	}
	return []byte("moneta-act/1\n" + a.ActID + "\n" + a.Hash + "\n" + verdict + "\n")
}

// ErrNotWaiting says that no act waits for this approval.
var ErrNotWaiting = errors.New("no act waits for this")

// Waiting returns the acts that wait for people now.
func (r *Runner) Waiting() ([]StepResult, error) {
	runs, err := r.Runs()
	if err != nil {
		return nil, err
	}
	now := r.cfg.Clock.Now()
	var out []StepResult
	for i := range runs {
		for _, s := range runs[i].Steps {
			if runs[i].Became == Pending && s.Became == Waits && now.Before(s.Until) {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// Approve keeps what a person said, after looking at who it is. The run hears of it
// within a second, in whichever process it is.
func (r *Runner) Approve(ctx context.Context, a Approval) error {
	if strings.TrimSpace(a.Reason) == "" || len(a.Reason) > reasonMax {
		return fmt.Errorf("say why, in 1 to %d bytes", reasonMax)
	}
	runs, err := r.Runs()
	if err != nil {
		return err
	}
	for i := range runs {
		for k := range runs[i].Steps {
			s := &runs[i].Steps[k]
			if s.Act.ID != a.ActID || s.Became != Waits || runs[i].Became != Pending {
				continue
			}
			if s.Hash != a.Hash {
				return errors.New("the act is another one by now: look at it again")
			}
			if now := r.cfg.Clock.Now(); !now.Before(s.Until) {
				return ErrNotWaiting
			}
			return r.keep(ctx, &runs[i], s, a)
		}
	}
	return ErrNotWaiting
}

func (r *Runner) keep(ctx context.Context, one *Result, s *StepResult, a Approval) error {
	a.Run, a.At = one.Run, r.cfg.Clock.Now().UTC()
	who, err := r.person(ctx, a)
	if err != nil {
		return err
	}
	if who == s.Act.By {
		return errors.New("whoever asked for it does not approve it")
	}
	line, err := json.Marshal(&a)
	if err != nil {
		return err
	}
	path := filepath.Join(r.cfg.Dir, fileName(one.Run)+approvalsEnd)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	// The line begins with a line feed too: one that a crash cut off stays alone.
	_, err = f.Write(append(append([]byte{'\n'}, line...), '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep the approval: %w", err)
	}
	r.cfg.Tell(one.Request.Incident, doctor.EntryApproved, who, doctor.Approval{ActID: a.ActID, Agreed: a.Agreed, Reason: a.Reason})
	return nil
}

func (r *Runner) person(ctx context.Context, a Approval) (string, error) {
	if r.cfg.Person == nil {
		return "", errors.New("nobody is known who may approve here")
	}
	return r.cfg.Person(ctx, a)
}

// agreed returns the distinct people who agreed to exactly this while it waits; refused
// is set when one said no. Each is looked at again: somebody may have lost his role.
func (x *run) agreed(ctx context.Context, s *StepResult) (people []string, refused error) {
	raw, err := readBounded(filepath.Join(x.cfg.Dir, fileName(x.out.Run)+approvalsEnd))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, nil //nolint:nilerr // what cannot be read agrees to nothing; the act waits
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		var a Approval
		if json.Unmarshal(lines.Bytes(), &a) != nil || a.ActID != s.Act.ID || a.Hash != s.Hash || !a.At.Before(s.Until) {
			continue
		}
		who, err := x.person(ctx, a)
		switch {
		case err != nil || who == s.Act.By || who == "":
		case !a.Agreed:
			return nil, fmt.Errorf("%s refused it: %s", who, a.Reason)
		case !slices.Contains(people, who):
			people = append(people, who)
		}
	}
	slices.Sort(people)
	return people, nil
}
